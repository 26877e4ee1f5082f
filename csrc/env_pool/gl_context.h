// An OpenGL context without a display, loaded at run time: EGL (GPU, else Mesa's software) or OSMesa.
#pragma once

#include <memory>
#include <string>

namespace ibrl {

class GlContext {
  public:
    virtual ~GlContext() = default;
    virtual void make_current() = 0;

    std::string platform;  // "egl" or "osmesa"
    std::string device;    // the driver's own words, such as "llvmpipe (LLVM 15.0.6, 256 bits)"
    bool is_software = false;
};

// Makes a context and makes it current on the calling thread, where it must be used and destroyed.
// platform: "egl" or "osmesa". device: index among EGL's devices, -1 for the first GPU that works, then
// software. Errors: RenderDeviceError, RenderingError.
std::unique_ptr<GlContext> make_gl_context(int width, int height, const std::string& platform, int device);

}  // namespace ibrl
