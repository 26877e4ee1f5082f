// Pictures of environments, rendered off screen on the thread that owns the renderer.
#pragma once

#include <mujoco/mujoco.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "env_pool/env.h"
#include "env_pool/gl_context.h"

namespace ibrl {

struct RenderOptions {
    std::vector<std::string> cameras;
    int image_size = 84;         // height and width, pixels
    bool channels_last = false;  // [H, W, 3] instead of [3, H, W]
    bool shadows = false;
    int shadow_size = 0;   // with shadows: side of the shadow map, 0 for the model's own
    int multisample = -1;  // samples per pixel; -1: none without shadows, the model's own with them
    std::string platform;  // "egl" or "osmesa"; empty where nothing is drawn yet
    int device = -1;       // index among EGL's devices, -1: the first that works

    std::size_t frame_bytes() const { return 3 * static_cast<std::size_t>(image_size) * image_size; }
};

struct RenderInfo {
    std::string platform, device;
    bool is_software = false;
};

// Camera id by name; std::invalid_argument lists the model's cameras.
int find_camera(const mjModel* model, const std::string& name);

// Turns a camera that is fixed in the world; std::invalid_argument for others.
void turn_camera(mjModel* model, const std::string& name, const double* quaternion);

class Renderer {
  public:
    Renderer(const mjModel* model, const RenderOptions& options);
    ~Renderer();
    Renderer(const Renderer&) = delete;
    Renderer& operator=(const Renderer&) = delete;

    // Upright picture of each camera, written at images[camera].
    void render(Env& env, const std::vector<std::uint8_t*>& images);

    const RenderOptions& options() const { return options_; }
    const RenderInfo& info() const { return info_; }

  private:
    void make_current();
    void store(bool is_upside_down, std::uint8_t* image) const;

    RenderOptions options_;
    std::vector<int> camera_ids_;
    RenderInfo info_;
    std::unique_ptr<GlContext> gl_;
    mjrContext context_;
    mjvScene scene_;
    mjvOption option_;
    std::vector<std::uint8_t> pixels_;
};

}  // namespace ibrl
