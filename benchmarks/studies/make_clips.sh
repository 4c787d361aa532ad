#!/bin/sh
# Makes clips of many kinds with ffmpeg: `sh benchmarks/studies/make_clips.sh FOLDER`, for clips.py. About a minute.
set -eu
mkdir -p "$1" && cd "$1"
ff="ffmpeg -v error -y -nostdin"
T="testsrc2=s=640x480:r=30:d=2"; S="sine=f=440:d=2"
$ff -f lavfi -i "$T" -vf "select='not(mod(n\,7)*gt(mod(n\,7)\,4))',select='gt(mod(n,5),0)+lt(n,20)'" -fps_mode vfr -c:v libx264 -preset ultrafast -pix_fmt yuv420p vfr.mp4
$ff -f lavfi -i "$T,format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc" -c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1 -pix_fmt yuv420p10le hdr10.mp4
$ff -f lavfi -i "$T,format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc" -c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le hlg.mkv
$ff -f lavfi -i "testsrc2=s=640x480:r=30:d=1" -vf scale=641:479 -c:v libx264 -preset ultrafast -pix_fmt yuv444p odd.mp4
$ff -f lavfi -i "testsrc2=s=3840x2160:r=30:d=0.4" -c:v libx264 -preset ultrafast -pix_fmt yuv420p 4k.mp4
$ff -f lavfi -i "$T" -f lavfi -i "$S" -f lavfi -i "sine=f=880:d=2" -map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a:0 aac -c:a:1 ac3 -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu sounds.mkv
$ff -f lavfi -i "testsrc2=s=160x120:r=10:d=2" anim.gif
$ff -f lavfi -i "testsrc2=s=1440x1080:r=50:d=1,interlace=scan=tff" -f lavfi -i "$S" -t 1 -c:v libx264 -preset ultrafast -flags +ilme+ildct -x264opts tff=1 -aspect 16:9 -pix_fmt yuv420p -c:a ac3 -f mpegts -mpegts_m2ts_mode 1 avchd2.mts
$ff -f lavfi -i "testsrc2=s=720x576:r=50:d=1,interlace=scan=bff" -f lavfi -i "$S" -t 1 -c:v dvvideo -pix_fmt yuv420p -aspect 4:3 -c:a pcm_s16le -ar 48000 -ac 2 tape.dv
$ff -f lavfi -i "testsrc2=s=720x480:r=60000/1001:d=1,interlace=scan=tff" -f lavfi -i "$S" -t 1 -target ntsc-dvd -flags +ilme+ildct -aspect 16:9 dvd.vob
$ff -f lavfi -i "testsrc2=s=720x576:r=50:d=1,interlace=scan=tff" -f lavfi -i "$S" -t 1 -c:v mpeg2video -flags +ilme+ildct -aspect 16:9 -b:v 5M -c:a mp2 dvd.mpg
$ff -f lavfi -i "$T" -f lavfi -i "$S" -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac plain.mp4
$ff -display_rotation 90 -i plain.mp4 -c copy phone.mp4 2>/dev/null || $ff -i plain.mp4 -c copy -metadata:s:v rotate=90 phone.mp4
$ff -i plain.mp4 -c copy plain.mkv; $ff -i plain.mp4 -c copy plain.ts
$ff -i plain.mp4 -c copy -movflags +frag_keyframe+empty_moov frag.mp4
for x in mkv ts; do n=$(stat -c %s plain.$x); head -c $((n*6/10)) plain.$x > cut.$x; done
n=$(stat -c %s frag.mp4); head -c $((n*6/10)) frag.mp4 > cutfrag.mp4
$ff -i plain.mp4 -c copy -movflags +faststart fast.mp4; n=$(stat -c %s fast.mp4); head -c $((n*6/10)) fast.mp4 > cut.mp4
n=$(stat -c %s plain.mp4); head -c $((n*6/10)) plain.mp4 > cutnoindex.mp4
$ff -ss 0.7 -i plain.mp4 -c copy edit.mp4
$ff -f lavfi -i "testsrc2=s=320x240:r=30:d=1,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(gt(X,160),255,0)'" -c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le alpha.mov
for p in yuv444p yuv422p gray yuv420p10le; do $ff -f lavfi -i "testsrc2=s=320x240:r=30:d=1" -c:v libx264 -preset ultrafast -pix_fmt $p $p.mp4; done
$ff -f lavfi -i "color=red:s=320x240:r=30:d=1" -vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709 -c:v libx264 -preset ultrafast -pix_fmt yuv420p sd709.mp4
$ff -f lavfi -i "color=red:s=1280x720:r=30:d=0.3" -vf scale=out_color_matrix=bt601 -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m -c:v libx264 -preset ultrafast -pix_fmt yuv420p hd601.mp4
$ff -f lavfi -i "color=red:s=320x240:r=30:d=1" -vf scale=out_color_matrix=bt709:out_range=pc -colorspace bt709 -color_range pc -c:v libx264 -preset ultrafast -pix_fmt yuv420p full709.mp4
$ff -f lavfi -i "$T" -f lavfi -i "$S" -c:v mjpeg -q:v 4 -c:a pcm_s16le mjpeg.avi
$ff -f lavfi -i "$T" -f lavfi -i "$S" -c:v mpeg4 -bf 2 -q:v 4 -vtag DX50 -c:a libmp3lame bframes.avi
$ff -f lavfi -i "$T" -f lavfi -i "$S" -c:v libxvid -bf 2 -q:v 4 -c:a libmp3lame xvid.avi 
$ff -f lavfi -i "testsrc2=s=320x240:r=24000/1001:d=2" -c:v libx264 -preset ultrafast -pix_fmt yuv420p film.mkv
$ff -f lavfi -i "testsrc2=s=320x240:r=30000/1001:d=2" -c:v libx264 -preset ultrafast -pix_fmt yuv420p ntsc.mp4
$ff -i plain.mp4 -c copy -output_ts_offset 10 late.ts
$ff -f lavfi -i "color=blue:s=200x200" -frames:v 1 cover.png
$ff -i cover.png -i plain.mp4 -map 0 -map 1 -c copy -disposition:v:0 attached_pic coverfirst.mp4
printf '1\n00:00:00,200 --> 00:00:01,000\nHello\n\n2\n00:00:01,200 --> 00:00:01,900\nWorld\n' > s.srt
printf ';FFMETADATA1\ntitle=Clip\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=Two\n' > c.txt
$ff -i plain.mp4 -i s.srt -i c.txt -map 0 -map 1 -map_metadata 2 -map_chapters 2 -c copy -c:s srt subs.mkv
$ff -i plain.mp4 -i s.srt -i c.txt -map 0 -map 1 -map_metadata 2 -map_chapters 2 -c copy -c:s mov_text subs.mp4
$ff -f lavfi -i "$T" -c:v libvpx-vp9 -deadline realtime -cpu-used 8 vp9.webm
$ff -f lavfi -i "testsrc2=s=352x288:r=25:d=1" -c:v msmpeg4v2 -q:v 4 old.wmv; $ff -f lavfi -i "testsrc2=s=352x288:r=25:d=1" -c:v wmv2 -q:v 4 wmv2.wmv
$ff -f lavfi -i "testsrc2=s=176x144:r=25:d=1" -c:v h263 phone.3gp
$ff -f lavfi -i "testsrc2=s=640x480:r=60:d=1" -vf "telecine,fieldorder=tff" -c:v mpeg2video -flags +ilme+ildct -b:v 5M telecine.mpg
V="color=black:s=320x240:r=30:d=2,drawbox=c=white:t=fill:enable='between(t,1,1.2)'"
A="aevalsrc='if(between(t,1,1.2),sin(2*PI*1000*t),0)':s=48000:d=2"
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v mpeg4 -bf 2 -c:a libmp3lame fl_b.avi
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v mjpeg -c:a pcm_s16le fl_m.avi
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v libx264 -preset medium -pix_fmt yuv420p -c:a aac fl.mp4
$ff -i fl.mp4 -c copy fl.mkv; $ff -i fl.mp4 -c copy -output_ts_offset 10 fl_late.ts; $ff -i fl.mp4 -c copy -movflags frag_keyframe+empty_moov fl_frag.mp4
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus fl.webm
$ff -f lavfi -i "$V,scale=720x576,fps=50,interlace=scan=tff" -f lavfi -i "$A" -c:v mpeg2video -flags +ilme+ildct -b:v 3M -c:a mp2 fl_dvd.mpg
$ff -f lavfi -i "$V,scale=720x576,fps=50,interlace=scan=bff" -f lavfi -i "$A" -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le -ac 2 -ar 48000 fl.dv
$ff -ss 0.55 -i fl.mp4 -c copy fl_edit.mp4
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a pcm_s16le fl_pcm.mov
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v wmv2 -c:a wmav2 fl.wmv
X="-c:v libx264 -preset veryfast -pix_fmt yuv420p"
$ff -f lavfi -i "$V" -f lavfi -i "$A" $X -c:a aac base.mp4
$ff -i base.mp4 -c copy -muxdelay 0 -output_ts_offset 95442.7 wrap.ts
$ff -f lavfi -i "$V" -f lavfi -i "$A" $X -x264-params open-gop=1:bframes=3:keyint=15:min-keyint=15:scenecut=0 -c:a aac opengop.mp4
for x in mp4 mkv ts; do $ff -itsoffset 0.6 -i base.mp4 -i base.mp4 -map 0:v -map 1:a -c copy videolate.$x; done
for x in mp4 mkv; do $ff -itsoffset 5 -i base.mp4 -c copy both5.$x; done
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le -tag:v hvc1 -c:a aac hevc10.mp4
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v libaom-av1 -cpu-used 8 -row-mt 1 -c:a libopus av1.webm
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v flv1 -c:a libmp3lame -ar 44100 old.flv
$ff -f lavfi -i "$V" -f lavfi -i "$A" -c:v libtheora -q:v 6 -c:a libvorbis theora.ogv
$ff -f lavfi -i "$V" -pix_fmt yuv420p raw.y4m; $ff -i base.mp4 -c copy -an -bsf:v h264_mp4toannexb raw.h264
$ff -f lavfi -i "$V,scale=720x576,fps=50,interlace=scan=tff" -f lavfi -i "$A" -c:v libx264 -preset ultrafast -flags +ilme+ildct -x264opts tff=1 -pix_fmt yuv420p -c:a aac mbaff.mp4
$ff -f lavfi -i "$V,scale=1440x1080,fps=50,interlace=scan=tff" -f lavfi -i "$A" -c:v mpeg2video -flags +ilme+ildct -b:v 8M -aspect 16:9 -c:a mp2 hdv.m2t
for s in 320x240 640x480; do $ff -f lavfi -i "testsrc2=s=$s:r=30:d=1" $X $s.ts; done; cat 320x240.ts 640x480.ts > sizechange.ts; rm 320x240.ts 640x480.ts
$ff -f lavfi -i "$V" -f lavfi -i "$A" $X -c:a ac3 -ac 6 six.mkv; $ff -f lavfi -i "$V" -f lavfi -i "$A" $X -c:a pcm_s16le -ar 8000 -ac 1 8k.mkv
$ff -f lavfi -i "$V" -f lavfi -i "$A" $X -c:a pcm_s24le -ar 96000 -ac 2 -timecode 01:00:00:00 tmcd.mov
$ff -f lavfi -i "testsrc2=s=320x240:r=30:d=1,format=argb,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(gt(X,160),255,0)'" -c:v qtrle animation.mov
$ff -f lavfi -i "testsrc2=s=320x240:r=30:d=1,format=yuva420p,geq=lum='lum(X,Y)':cb='cb(X,Y)':cr='cr(X,Y)':a='if(gt(X,160),255,0)'" -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuva420p -auto-alt-ref 0 alpha.webm
$ff -f lavfi -i "testsrc2=s=320x240:r=240:d=0.5" $X fast240.mp4
cp base.mp4 '100%d: b.mp4'
