"""A virtual camera for video calls: pyvirtualcam over v4l2loopback, on the named device."""

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
        size_wh: The camera's size; other pictures are resized. Odd numbers are rounded down, as its format requires.
        fps: Frames a second that it announces; pictures are sent as they come, whatever the rate.

    Attributes:
        name: `--virtual-camera DEVICE`.
        size_wh: Its actual size.

    Raises:
        OutputError: pyvirtualcam isn't installed, or `device` is not a virtual camera, or can't be written to.
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
            # Always with a device: without one pyvirtualcam uses the first it finds, which may be in other use.
            self._camera = pyvirtualcam.Camera(
                width, height, fps or 30.0, fmt=pyvirtualcam.PixelFormat.BGR, device=device, backend="v4l2loopback"
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise OutputError(
                f"{self.name}: can't be opened ({error}); close the program that writes to it, or name another."
            ) from error

    def publish(self, item: OutputFrame) -> None:
        """Sends one picture. v4l2loopback accepts it at once, whether or not a program is watching.

        Raises:
            OutputError: The device doesn't accept it, or the sink is closed.
        """
        if self._camera is None:
            raise OutputError(f"{self.name}: is already closed.")
        picture = item.picture
        if (picture.shape[1], picture.shape[0]) != self.size_wh:
            picture = cv2.resize(picture, self.size_wh, interpolation=cv2.INTER_AREA)
        try:
            self._camera.send(np.ascontiguousarray(picture))
        except (RuntimeError, ValueError, OSError) as error:
            raise OutputError(f"{self.name}: doesn't accept pictures anymore ({error}).") from error

    def idle(self, message: str) -> None:
        """Does nothing: a v4l2loopback device shows its last picture until the next one."""

    def close(self) -> None:
        """Frees the device. May be called twice."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()


def driver_of(device: str) -> str:
    """The name of a video device's driver, queried from the kernel; opening it for that doesn't disturb other programs.

    Raises:
        OSError: It can't be queried.
    """
    import fcntl

    file = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        capability = fcntl.ioctl(file, VIDIOC_QUERYCAP, bytes(104))
    finally:
        os.close(file)
    return capability[:16].partition(b"\0")[0].decode("ascii", "replace")


def _check_device(device: str) -> None:
    number = device.removeprefix("/dev/video")
    number = number if number.isascii() and number.isdigit() else "10"
    advice = (
        f"make one with: sudo modprobe v4l2loopback video_nr={number} exclusive_caps=1 card_label=seg-edge "
        "(package v4l2loopback-dkms)"
    )
    try:
        status = os.stat(device)
        # Checked before it is opened: just opening some devices, such as /dev/watchdog, has an effect.
        if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) != VIDEO_MAJOR:
            raise OutputError(f"--virtual-camera {device}: is not a video device; {advice}.")
        driver = driver_of(device)
    except FileNotFoundError as error:
        raise OutputError(f"--virtual-camera {device}: there is no such device; {advice}.") from error
    except PermissionError as error:
        raise OutputError(
            f"--virtual-camera {device}: this user may not open it; add it to the group: sudo usermod -aG video $USER"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"--virtual-camera {device}: can't be queried ({reason}); {advice}.") from error
    if driver != LOOPBACK:
        raise OutputError(f"--virtual-camera {device}: is a real device ({driver}), not a virtual camera; {advice}.")
