#include "env_pool/gl_context.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "env_pool/errors.h"

namespace ibrl {
namespace {

// Khronos' names and numbers, so that no header or library is needed to build.
using Handle = void*;
constexpr int EGL_NONE = 0x3038, EGL_EXTENSIONS = 0x3055, EGL_SUCCESS = 0x3000;
constexpr int EGL_OPENGL_API = 0x30A2, EGL_OPENGL_BIT = 0x0008, EGL_PBUFFER_BIT = 0x0001;
constexpr int EGL_PLATFORM_DEVICE_EXT = 0x313F, EGL_PLATFORM_SURFACELESS_MESA = 0x31DD;
constexpr int GL_RENDERER = 0x1F01, GL_UNSIGNED_BYTE = 0x1401, OSMESA_RGBA = 0x1908;
constexpr int kConfigAttributes[] = {0x3024,  8,
                                     0x3023,  8,
                                     0x3022,  8,
                                     0x3021,  8,  // red, green, blue, alpha bits
                                     0x3025,  24,
                                     0x3026,  8,       // depth, stencil bits
                                     0x303F,  0x308E,  // colour buffer type: RGB
                                     0x3033,  EGL_PBUFFER_BIT,
                                     0x3040,  EGL_OPENGL_BIT,
                                     EGL_NONE};

template <typename Function>
Function symbol(Handle library, const char* name) {
    auto function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw RenderingError(std::string("rendering: the library lacks ") + name);
    return function;
}

void describe(GlContext* context, Handle (*get_proc)(const char*)) {
    using GetString = const unsigned char* (*)(unsigned);
    auto get_string = reinterpret_cast<GetString>(get_proc("glGetString"));
    const unsigned char* words = get_string != nullptr ? get_string(GL_RENDERER) : nullptr;
    context->device = words != nullptr ? reinterpret_cast<const char*>(words) : "unknown";
    for (const char* software : {"llvmpipe", "softpipe", "swrast", "OSMesa"}) {
        if (context->device.find(software) != std::string::npos) context->is_software = true;
    }
}

// libEGL's functions that are used here; stays loaded, MuJoCo finds eglGetProcAddress in the global scope.
struct Egl {
    Handle (*GetProcAddress)(const char*);
    unsigned (*Initialize)(Handle, int*, int*);
    unsigned (*ChooseConfig)(Handle, const int*, Handle*, int, int*);
    unsigned (*BindAPI)(unsigned);
    Handle (*CreateContext)(Handle, Handle, Handle, const int*);
    unsigned (*DestroyContext)(Handle, Handle);
    unsigned (*MakeCurrent)(Handle, Handle, Handle, Handle);
    unsigned (*ReleaseThread)();
    int (*GetError)();
    Handle (*GetPlatformDisplayEXT)(unsigned, Handle, const int*);
    unsigned (*QueryDevicesEXT)(int, Handle*, int*);
    const char* (*QueryDeviceStringEXT)(Handle, int);

    explicit Egl(Handle library)
        : GetProcAddress(symbol<decltype(GetProcAddress)>(library, "eglGetProcAddress")),
          Initialize(symbol<decltype(Initialize)>(library, "eglInitialize")),
          ChooseConfig(symbol<decltype(ChooseConfig)>(library, "eglChooseConfig")),
          BindAPI(symbol<decltype(BindAPI)>(library, "eglBindAPI")),
          CreateContext(symbol<decltype(CreateContext)>(library, "eglCreateContext")),
          DestroyContext(symbol<decltype(DestroyContext)>(library, "eglDestroyContext")),
          MakeCurrent(symbol<decltype(MakeCurrent)>(library, "eglMakeCurrent")),
          ReleaseThread(symbol<decltype(ReleaseThread)>(library, "eglReleaseThread")),
          GetError(symbol<decltype(GetError)>(library, "eglGetError")) {
        GetPlatformDisplayEXT =
            reinterpret_cast<decltype(GetPlatformDisplayEXT)>(GetProcAddress("eglGetPlatformDisplayEXT"));
        QueryDevicesEXT = reinterpret_cast<decltype(QueryDevicesEXT)>(GetProcAddress("eglQueryDevicesEXT"));
        QueryDeviceStringEXT =
            reinterpret_cast<decltype(QueryDeviceStringEXT)>(GetProcAddress("eglQueryDeviceStringEXT"));
    }

    bool is_initialized(Handle display) const {
        return display != nullptr && GetError() == EGL_SUCCESS && Initialize(display, nullptr, nullptr) != 0;
    }
};

// The displays to try: GPUs first, then the software device, then Mesa without any device.
std::vector<Handle> find_displays(const Egl& egl, int device) {
    std::vector<Handle> displays;
    if (egl.GetPlatformDisplayEXT == nullptr) return displays;
    Handle devices[64];
    int count = 0;
    if (egl.QueryDevicesEXT != nullptr) egl.QueryDevicesEXT(64, devices, &count);
    if (device >= count) {
        throw RenderDeviceError("render_device: expected -1 .. " + std::to_string(count - 1) + ", got " +
                                std::to_string(device));
    }
    for (const bool want_software : {false, true}) {
        for (int i = 0; i < count; ++i) {
            const char* words = egl.QueryDeviceStringEXT != nullptr
                                    ? egl.QueryDeviceStringEXT(devices[i], EGL_EXTENSIONS)
                                    : nullptr;
            const bool is_software = words != nullptr && std::strstr(words, "software") != nullptr;
            if (device >= 0 ? (i != device || want_software) : is_software != want_software) continue;
            displays.push_back(egl.GetPlatformDisplayEXT(EGL_PLATFORM_DEVICE_EXT, devices[i], nullptr));
        }
    }
    if (device < 0)
        displays.push_back(egl.GetPlatformDisplayEXT(EGL_PLATFORM_SURFACELESS_MESA, nullptr, nullptr));
    return displays;
}

class EglContext final : public GlContext {
  public:
    EglContext(const Egl& egl, int device) : egl_(egl) {
        for (Handle display : find_displays(egl_, device)) {
            if (!egl_.is_initialized(display)) continue;
            Handle config = nullptr;
            int count = 0;
            if (egl_.ChooseConfig(display, kConfigAttributes, &config, 1, &count) == 0 || count < 1) continue;
            egl_.BindAPI(EGL_OPENGL_API);
            context_ = egl_.CreateContext(display, config, nullptr, nullptr);
            display_ = display;
            if (context_ != nullptr) break;
        }
        if (context_ == nullptr) throw RenderingError("EGL has no device that gives an OpenGL context");
        make_current();
        platform = "egl";
        describe(this, egl_.GetProcAddress);
    }

    ~EglContext() override {
        egl_.MakeCurrent(display_, nullptr, nullptr, nullptr);
        egl_.DestroyContext(display_, context_);
        egl_.ReleaseThread();
    }

    void make_current() override {
        egl_.BindAPI(EGL_OPENGL_API);
        if (egl_.MakeCurrent(display_, nullptr, nullptr, context_) == 0) {
            throw RenderingError("rendering: EGL could not make its context current");
        }
    }

  private:
    const Egl& egl_;
    Handle display_ = nullptr, context_ = nullptr;
};

class OsmesaContext final : public GlContext {
  public:
    OsmesaContext(Handle library, int width, int height)
        : width_(width), height_(height), buffer_(4 * static_cast<std::size_t>(width) * height) {
        using Create = Handle (*)(unsigned, int, int, int, Handle);
        make_current_ = symbol<decltype(make_current_)>(library, "OSMesaMakeCurrent");
        destroy_ = symbol<decltype(destroy_)>(library, "OSMesaDestroyContext");
        context_ = symbol<Create>(library, "OSMesaCreateContextExt")(OSMESA_RGBA, 24, 8, 0, nullptr);
        if (context_ == nullptr) throw RenderingError("OSMesa gives no context");
        make_current();
        platform = "osmesa";
        is_software = true;
        describe(this, symbol<Handle (*)(const char*)>(library, "OSMesaGetProcAddress"));
    }

    ~OsmesaContext() override { destroy_(context_); }

    void make_current() override {
        if (make_current_(context_, buffer_.data(), GL_UNSIGNED_BYTE, width_, height_) == 0) {
            throw RenderingError("rendering: OSMesa could not make its context current");
        }
    }

  private:
    int width_, height_;
    std::vector<std::uint8_t> buffer_;
    unsigned char (*make_current_)(Handle, void*, unsigned, int, int);
    void (*destroy_)(Handle);
    Handle context_ = nullptr;
};

}  // namespace

std::unique_ptr<GlContext> make_gl_context(int width, int height, const std::string& platform, int device) {
    static std::mutex mutex;  // drivers initialise their displays one at a time
    std::lock_guard lock(mutex);

    // A driver's threads stay behind in a fork, where the driver would wait for them.
    static const pid_t owner = getpid();
    if (getpid() != owner) {
        throw RenderingError(
            "rendering: expected the process that drew first, got a fork of it; make pools that draw in "
            "processes started by 'spawn'");
    }

    // RTLD_GLOBAL: MuJoCo looks for the loader's functions among the process's own symbols.
    if (platform == "egl") {
        static Handle library = dlopen("libEGL.so.1", RTLD_LAZY | RTLD_GLOBAL);
        if (library == nullptr) throw RenderingError("rendering: expected the library of EGL, found none");
        static const Egl egl(library);
        return std::make_unique<EglContext>(egl, device);
    }
    if (platform != "osmesa") {
        throw std::invalid_argument("render_platform: expected egl or osmesa, got '" + platform + "'");
    }
    if (device >= 0) {
        throw RenderDeviceError("render_device: expected -1 with OSMesa, got " + std::to_string(device));
    }
    for (const char* name : {"libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"}) {
        Handle library = dlopen(name, RTLD_LAZY | RTLD_GLOBAL);
        if (library != nullptr) return std::make_unique<OsmesaContext>(library, width, height);
    }
    throw RenderingError("rendering: expected the library of OSMesa, found none");
}

}  // namespace ibrl
