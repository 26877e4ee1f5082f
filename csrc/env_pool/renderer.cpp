#include "env_pool/renderer.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>

#include "env_pool/errors.h"

namespace ibrl {
namespace {

constexpr int kMaxGeoms = 2000;

// Whose OpenGL context is current on this thread.
thread_local const Renderer* current_renderer = nullptr;

// Whether a camera fixed in the world points its up axis at the floor, as Meta-World's corner cameras do.
bool is_upside_down(const mjModel* model, int camera) {
    return model->cam_bodyid[camera] == 0 && model->cam_mat0[9 * camera + 7] < -0.1;
}

}  // namespace

int find_camera(const mjModel* model, const std::string& name) {
    const int id = mj_name2id(model, mjOBJ_CAMERA, name.c_str());
    if (id >= 0) return id;
    std::string names;
    for (int i = 0; i < model->ncam; ++i) {
        names.append(i == 0 ? "" : ", ").append(model->names + model->name_camadr[i]);
    }
    throw std::invalid_argument("cameras: expected names among " + names + ", got '" + name + "'");
}

void turn_camera(mjModel* model, const std::string& name, const double* quaternion) {
    const int id = find_camera(model, name);
    if (model->cam_bodyid[id] != 0 || model->cam_mode[id] != mjCAMLIGHT_FIXED) {
        throw std::invalid_argument(
            "camera_quaternions: expected a camera that is fixed in the world, got '" + name + "'");
    }
    std::copy_n(quaternion, 4, model->cam_quat + 4 * id);
    mju_quat2Mat(model->cam_mat0 + 9 * id, quaternion);
}

Renderer::Renderer(const mjModel* model, const RenderOptions& options)
    : options_(options),
      gl_(make_gl_context(options.image_size, options.image_size, options.platform, options.device)),
      pixels_(options.frame_bytes()) {
    current_renderer = this;
    info_ = {gl_->platform, gl_->device, gl_->is_software};
    for (const std::string& camera : options_.cameras) camera_ids_.push_back(find_camera(model, camera));

    // The off-screen buffer is no larger than the picture; shadow maps and multisampling only on request.
    mjModel sized = *model;
    sized.vis.global.offwidth = sized.vis.global.offheight = options_.image_size;
    if (!options_.shadows) sized.vis.quality.shadowsize = sized.vis.quality.offsamples = 0;
    if (options_.shadows && options_.shadow_size > 0) sized.vis.quality.shadowsize = options_.shadow_size;
    if (options_.multisample >= 0) sized.vis.quality.offsamples = options_.multisample;

    mjr_defaultContext(&context_);
    {
        // MuJoCo loads OpenGL's functions into variables of the whole process.
        static std::mutex mutex;
        std::lock_guard lock(mutex);
        try {
            mjr_makeContext(&sized, &context_, mjFONTSCALE_100);
        } catch (const std::exception& error) {
            throw RenderingError("rendering: expected a driver that draws " +
                                 std::to_string(options_.image_size) + " x " +
                                 std::to_string(options_.image_size) + " pixels, got: " + error.what());
        }
    }
    mjr_setBuffer(mjFB_OFFSCREEN, &context_);
    mjv_defaultScene(&scene_);
    mjv_makeScene(model, &scene_, kMaxGeoms);
    if (!options_.shadows) scene_.flags[mjRND_SHADOW] = 0;
    mjv_defaultOption(&option_);
}

Renderer::~Renderer() {
    make_current();
    current_renderer = nullptr;
    mjr_freeContext(&context_);
    mjv_freeScene(&scene_);
}

void Renderer::make_current() {
    if (current_renderer == this) return;
    gl_->make_current();
    current_renderer = this;
}

void Renderer::render(Env& env, const std::vector<std::uint8_t*>& images) {
    make_current();
    const mjrRect viewport = {0, 0, options_.image_size, options_.image_size};
    mjvCamera camera;
    mjv_defaultCamera(&camera);
    camera.type = mjCAMERA_FIXED;
    for (std::size_t i = 0; i < images.size(); ++i) {
        // The scene is collected once; further cameras only look at it from elsewhere.
        camera.fixedcamid = camera_ids_[i];
        if (i == 0) {
            mjv_updateScene(env.model(), env.data(), &option_, nullptr, &camera, mjCAT_ALL, &scene_);
        } else {
            mjv_updateCamera(env.model(), env.data(), &camera, &scene_);
            mjv_makeLights(env.model(), env.data(), &scene_);
        }
        mjr_render(viewport, &scene_, &context_);
        mjr_readPixels(pixels_.data(), nullptr, viewport, &context_);
        store(is_upside_down(env.model(), camera_ids_[i]), images[i]);
    }
}

void Renderer::store(bool is_upside_down, std::uint8_t* image) const {
    // OpenGL's rows run bottom-up; a camera mounted upside down needs half a turn on top, which leaves only
    // the columns.
    const int height = options_.image_size, width = height;
    const int channel_step = options_.channels_last ? 1 : height * width;
    const int pixel_step = options_.channels_last ? 3 : 1;
    for (int y = 0; y < height; ++y) {
        const std::uint8_t* from = pixels_.data() + 3 * width * (is_upside_down ? y : height - 1 - y);
        std::uint8_t* row = image + static_cast<std::size_t>(y) * width * pixel_step;
        for (int x = 0; x < width; ++x) {
            const std::uint8_t* pixel = from + 3 * (is_upside_down ? width - 1 - x : x);
            std::uint8_t* to = row + x * pixel_step;
            to[0] = pixel[0];
            to[channel_step] = pixel[1];
            to[2 * channel_step] = pixel[2];
        }
    }
}

}  // namespace ibrl
