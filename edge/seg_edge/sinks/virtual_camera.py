"""The picture as a camera of its own, for video calls: pyvirtualcam over v4l2loopback, on the device that was named."""

from __future__ import annotations

import os
import stat
from typing import Any

import cv2
import numpy as np

from seg_edge.errors import OutputError
from seg_edge.sinks.sink import OutputFrame

VIDEO_MAJOR = 81  # of every /dev/videoN (Documentation/admin-guide/devices.txt of Linux)
VIDIOC_QUERYCAP = 0x80685600  # _IOR('V', 0, struct v4l2_capability), 104 bytes, the driver's name in the first 16
LOOPBACK = "v4l2 loopback"


class VirtualCamera:
    """Sends every picture to one virtual camera.

    Args:
        device: Its path, `/dev/videoN`; no other is ever opened.
        size_wh: The camera's size; pictures of another are resized. Odd numbers are rounded down, as its format needs.
        fps: Frames a second it announces; pictures go out as they come, whatever it says.

    Attributes:
        name: `--virtual-camera DEVICE`.
        size_wh: The size it has.

    Raises:
        OutputError: pyvirtualcam isn't installed, or `device` is no virtual camera that can be written to.
    """

    def __init__(self, device: str, size_wh: tuple[int, int], fps: float):
        self.name = f"--virtual-camera {device}"
        self.size_wh = (max(2, size_wh[0] // 2 * 2), max(2, size_wh[1] // 2 * 2))
        self._camera: Any = None
        _check_device(device)
        try:
            import pyvirtualcam
        except ImportError as error:
            raise OutputError(
                f"{self.name} needs pyvirtualcam ({error}); install it with: pip install 'seg-edge[virtualcam]'"
            ) from error
        width, height = self.size_wh
        try:
            # The device always: without one pyvirtualcam takes the first it finds, which may be somebody else's.
            self._camera = pyvirtualcam.Camera(
                width, height, fps or 30.0, fmt=pyvirtualcam.PixelFormat.BGR, device=device, backend="v4l2loopback"
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise OutputError(
                f"{self.name}: can't be opened ({error}); close the program that writes to it, or name another."
            ) from error

    def publish(self, item: OutputFrame) -> None:
        """Sends one picture. v4l2loopback takes it at once, whether anybody looks or not.

        Raises:
            OutputError: The device doesn't take it, or the sink is closed.
        """
        if self._camera is None:
            raise OutputError(f"{self.name}: is closed already.")
        picture = item.picture
        if (picture.shape[1], picture.shape[0]) != self.size_wh:
            picture = cv2.resize(picture, self.size_wh, interpolation=cv2.INTER_AREA)
        try:
            self._camera.send(np.ascontiguousarray(picture))
        except (RuntimeError, ValueError, OSError) as error:
            raise OutputError(f"{self.name}: doesn't take pictures any more ({error}).") from error

    def idle(self, message: str) -> None:
        """Does nothing: a v4l2loopback device shows its last picture until there is another."""

    def close(self) -> None:
        """Frees the device. May be called twice."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()


def driver_of(device: str) -> str:
    """The name of a video device's driver, asked of the kernel; opening it to ask disturbs nobody who uses it.

    Raises:
        OSError: It can't be asked.
    """
    import fcntl

    file = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(file, VIDIOC_QUERYCAP, bytes(104))
    finally:
        os.close(file)
    return answer[:16].partition(b"\0")[0].decode("ascii", "replace")


def _check_device(device: str) -> None:
    number = device.removeprefix("/dev/video")
    number = number if number.isascii() and number.isdigit() else "10"
    advice = (
        f"make one with: sudo modprobe v4l2loopback video_nr={number} exclusive_caps=1 card_label=seg-edge "
        "(package v4l2loopback-dkms)"
    )
    try:
        status = os.stat(device)
        # Looked at before it is opened: opening alone does something to some devices, such as /dev/watchdog.
        if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) != VIDEO_MAJOR:
            raise OutputError(f"--virtual-camera {device}: is no video device; {advice}.")
        driver = driver_of(device)
    except FileNotFoundError as error:
        raise OutputError(f"--virtual-camera {device}: there is no such device; {advice}.") from error
    except PermissionError as error:
        raise OutputError(
            f"--virtual-camera {device}: this user may not open it; add it to the group: sudo usermod -aG video $USER"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"--virtual-camera {device}: can't be asked what it is ({reason}); {advice}.") from error
    if driver != LOOPBACK:
        raise OutputError(f"--virtual-camera {device}: is a real device ({driver}), no virtual camera; {advice}.")
