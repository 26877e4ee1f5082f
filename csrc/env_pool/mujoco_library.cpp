#include "env_pool/mujoco_library.h"

#include <dlfcn.h>
#include <mujoco/mujoco.h>

#include <mutex>
#include <vector>

#include "env_pool/errors.h"

namespace ibrl {
namespace {

struct Binding {
    const char* name;
    void** function;
};

// Filled while the extension is loaded, by the definitions below.
std::vector<Binding>& bindings() {
    static std::vector<Binding> all;
    return all;
}

struct Registered {
    Registered(const char* name, void** function) { bindings().push_back({name, function}); }
};

bool is_loaded = false;

std::string version_words(int version) {
    return std::to_string(version / 100) + "." + std::to_string(version / 10 % 10) + "." +
           std::to_string(version % 10);
}

}  // namespace

void load_mujoco(const std::string& path) {
    static std::mutex mutex;
    std::lock_guard lock(mutex);
    if (is_loaded) return;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
        throw MujocoVersionError(std::string("mujoco: could not load its library: ") + dlerror());
    const auto version = reinterpret_cast<int (*)()>(dlsym(library, "mj_version"));
    const std::string got = version != nullptr ? version_words(version()) : "another library";
    if (got != mujoco_version()) {
        throw MujocoVersionError("mujoco: expected " + mujoco_version() + ", got " + got + " (" + path + ")");
    }
    for (const Binding& binding : bindings()) {
        *binding.function = dlsym(library, binding.name);
        if (*binding.function != nullptr) continue;
        throw MujocoVersionError("mujoco: expected a library with " + std::string(binding.name) + ", got " +
                                 path);
    }
    is_loaded = true;
}

void require_mujoco() {
    if (!is_loaded) throw std::runtime_error("mujoco: expected load_mujoco() before a pool is made");
}

std::string mujoco_version() {
    return version_words(mjVERSION_HEADER);
}

}  // namespace ibrl

// ---- the functions of MuJoCo that are used here, each a jump to the library's own ----

#define FORWARD(result, name, parameters, arguments)                                  \
    namespace {                                                                       \
    result(*name##_) parameters = nullptr;                                            \
    const ibrl::Registered name##_binding(#name, reinterpret_cast<void**>(&name##_)); \
    }                                                                                 \
    extern "C" result name parameters {                                               \
        return name##_ arguments;                                                     \
    }

// clang-format off
FORWARD(mjModel*, mj_loadXML, (const char* filename, const mjVFS* vfs, char* error, int error_sz), (filename, vfs, error, error_sz))
FORWARD(mjModel*, mj_loadModel, (const char* filename, const mjVFS* vfs), (filename, vfs))
FORWARD(void, mj_step, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_step1, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_step2, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_forward, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_deleteModel, (mjModel* m), (m))
FORWARD(mjData*, mj_makeData, (const mjModel* m), (m))
FORWARD(mjData*, mj_copyData, (mjData* dest, const mjModel* m, const mjData* src), (dest, m, src))
FORWARD(void, mj_resetData, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_deleteData, (mjData* d), (d))
FORWARD(void, mj_fwdActuation, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_fwdAcceleration, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_fwdConstraint, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_Euler, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_checkPos, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_checkVel, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_checkAcc, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_kinematics, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_makeConstraint, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_projectConstraint, (const mjModel* m, mjData* d), (m, d))
FORWARD(void, mj_referenceConstraint, (const mjModel* m, mjData* d), (m, d))
FORWARD(int, mj_stateSize, (const mjModel* m, unsigned int spec), (m, spec))
FORWARD(void, mj_getState, (const mjModel* m, const mjData* d, mjtNum* state, unsigned int spec), (m, d, state, spec))
FORWARD(void, mj_setState, (const mjModel* m, mjData* d, const mjtNum* state, unsigned int spec), (m, d, state, spec))
FORWARD(void, mj_jacSite, (const mjModel* m, const mjData* d, mjtNum* jacp, mjtNum* jacr, int site), (m, d, jacp, jacr, site))
FORWARD(void, mj_fullM, (const mjModel* m, mjtNum* dst, const mjtNum* M), (m, dst, M))
FORWARD(int, mj_name2id, (const mjModel* m, int type, const char* name), (m, type, name))
FORWARD(void, mjv_defaultCamera, (mjvCamera* cam), (cam))
FORWARD(void, mjv_defaultOption, (mjvOption* opt), (opt))
FORWARD(void, mjv_defaultScene, (mjvScene* scn), (scn))
FORWARD(void, mjv_makeScene, (const mjModel* m, mjvScene* scn, int maxgeom), (m, scn, maxgeom))
FORWARD(void, mjv_freeScene, (mjvScene* scn), (scn))
FORWARD(void, mjv_updateScene, (const mjModel* m, mjData* d, const mjvOption* opt, const mjvPerturb* pert, mjvCamera* cam, int catmask, mjvScene* scn), (m, d, opt, pert, cam, catmask, scn))
FORWARD(void, mjv_makeLights, (const mjModel* m, const mjData* d, mjvScene* scn), (m, d, scn))
FORWARD(void, mjv_updateCamera, (const mjModel* m, const mjData* d, mjvCamera* cam, mjvScene* scn), (m, d, cam, scn))
FORWARD(void, mjr_defaultContext, (mjrContext* con), (con))
FORWARD(void, mjr_makeContext, (const mjModel* m, mjrContext* con, int fontscale), (m, con, fontscale))
FORWARD(void, mjr_freeContext, (mjrContext* con), (con))
FORWARD(void, mjr_setBuffer, (int framebuffer, mjrContext* con), (framebuffer, con))
FORWARD(void, mjr_readPixels, (unsigned char* rgb, float* depth, mjrRect viewport, const mjrContext* con), (rgb, depth, viewport, con))
FORWARD(void, mjr_render, (mjrRect viewport, mjvScene* scn, const mjrContext* con), (viewport, scn, con))
FORWARD(mjtNum, mju_normalize4, (mjtNum vec[4]), (vec))
FORWARD(void, mju_quat2Mat, (mjtNum res[9], const mjtNum quat[4]), (res, quat))

// Exported for language bindings, without a declaration: handlers of the calling thread alone.
using Handler = void (*)(const char*);
FORWARD(Handler, _mjPRIVATE__get_tls_error_fn, (), ())
FORWARD(void, _mjPRIVATE__set_tls_error_fn, (Handler handler), (handler))
FORWARD(Handler, _mjPRIVATE__get_tls_warning_fn, (), ())
FORWARD(void, _mjPRIVATE__set_tls_warning_fn, (Handler handler), (handler))
