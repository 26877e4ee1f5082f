"""Makes one small OpenGL context and prints how it went, as JSON: `python gl_probe.py egl|osmesa`.

A program of its own, without imports of this package: what a driver does to it does nothing to the caller.
Prints {"renderer": ..., "devices": number of EGL's devices} or {"error": reason, "missing": no library}.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

OSMESA_LIBRARIES = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
_RENDERER = 0x1F01  # glGetString's name for the driver's own words

# red, green, blue, alpha, depth and stencil bits; colour buffer; pbuffers; OpenGL
_CONFIG: tuple[int, ...] = (0x3024, 8, 0x3023, 8, 0x3022, 8, 0x3021, 8, 0x3025, 24, 0x3026, 8)
_CONFIG += (0x303F, 0x308E, 0x3033, 1, 0x3040, 8, 0x3038)


def _function(address: Any, result: Any, *arguments: Any) -> Any:
    return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None


def probe_egl() -> dict[str, Any]:
    """Make a context on the first of EGL's devices that gives one, or on Mesa's without a device."""
    pointer, number = ctypes.c_void_p, ctypes.c_int
    egl = ctypes.CDLL("libEGL.so.1", mode=ctypes.RTLD_GLOBAL)
    for name, result, arguments in (
        ("eglGetProcAddress", pointer, (ctypes.c_char_p,)),
        ("eglInitialize", number, (pointer, pointer, pointer)),
        ("eglChooseConfig", number, (pointer, pointer, pointer, number, pointer)),
        ("eglCreateContext", pointer, (pointer, pointer, pointer, pointer)),
        ("eglMakeCurrent", number, (pointer, pointer, pointer, pointer)),
    ):
        function = getattr(egl, name)
        function.restype, function.argtypes = result, arguments
    query = _function(egl.eglGetProcAddress(b"eglQueryDevicesEXT"), number, number, pointer, pointer)
    display_of = _function(
        egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT"), pointer, number, pointer, pointer
    )
    if display_of is None:
        return {"error": "no displays without a window system"}

    # devices first, then Mesa's surfaceless platform
    devices, count = (pointer * 64)(), number(0)
    if query is not None:
        query(64, devices, ctypes.byref(count))
    displays = [(0x313F, devices[index]) for index in range(count.value)] + [(0x31DD, None)]
    for platform, device in displays:
        display = display_of(platform, device, None)
        if not display or not egl.eglInitialize(display, None, None):
            continue
        config, found = pointer(), number(0)
        attributes = (number * len(_CONFIG))(*_CONFIG)
        egl.eglChooseConfig(display, attributes, ctypes.byref(config), 1, ctypes.byref(found))
        egl.eglBindAPI(0x30A2)  # OpenGL
        context = egl.eglCreateContext(display, config, None, None) if found.value else None
        if context and egl.eglMakeCurrent(display, None, None, context):
            words = _function(egl.eglGetProcAddress(b"glGetString"), ctypes.c_char_p, number)
            return {"renderer": (words(_RENDERER) or b"").decode(), "devices": count.value}
    return {"error": "EGL has no device that gives an OpenGL context"}


def probe_osmesa() -> dict[str, Any]:
    """Make a context that draws into this process's memory."""
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library = None
    for name in OSMESA_LIBRARIES:
        try:
            library = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
            break
        except OSError as error:
            problem = error
    if library is None:
        raise problem
    library.OSMesaCreateContextExt.restype = library.OSMesaGetProcAddress.restype = pointer
    context = library.OSMesaCreateContextExt(0x1908, 24, 8, 0, None)  # RGBA
    buffer = ctypes.create_string_buffer(4 * 16 * 16)
    if not context or not library.OSMesaMakeCurrent(pointer(context), buffer, 0x1401, 16, 16):
        return {"error": "OSMesa gives no context"}
    words = _function(library.OSMesaGetProcAddress(b"glGetString"), ctypes.c_char_p, number)
    return {"renderer": (words(_RENDERER) or b"").decode(), "devices": 0}


if __name__ == "__main__":
    try:
        answer = probe_egl() if sys.argv[1] == "egl" else probe_osmesa()
    except OSError as error:
        answer = {"error": str(error), "missing": True}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer))
