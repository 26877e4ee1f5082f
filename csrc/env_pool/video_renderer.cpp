#include "env_pool/video_renderer.h"

#include <algorithm>
#include <exception>

#include "env_pool/mujoco_model.h"

namespace ibrl {

VideoRenderer::VideoRenderer() : thread_(1, false, [this](int) { renderers_.clear(); }) {}

void VideoRenderer::render(const mjModel* model, const RenderOptions& options, const std::vector<Env*>& envs,
                           std::uint8_t* pixels) {
    std::exception_ptr error;
    bool is_done = false;
    thread_.add({[&](int) {
        try {
            MujocoErrorScope errors;
            Renderer* renderer = renderer_for(model, options);
            for (std::size_t i = 0; i < envs.size(); ++i) {
                renderer->render(*envs[i], {pixels + i * options.frame_bytes()});
            }
        } catch (...) {
            error = std::current_exception();
        }
        std::lock_guard lock(mutex_);
        is_done = true;
        done_.notify_all();
    }});
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&is_done] { return is_done; });
    if (error) std::rethrow_exception(error);
}

Renderer* VideoRenderer::renderer_for(const mjModel* model, const RenderOptions& options) {
    const auto fits = [&options](const auto& renderer) {
        return renderer->options().image_size == options.image_size &&
               renderer->options().cameras == options.cameras;
    };
    auto found = std::find_if(renderers_.begin(), renderers_.end(), fits);
    if (found == renderers_.end()) {
        renderers_.push_back(std::make_unique<Renderer>(model, options));
        found = renderers_.end() - 1;
    }
    return found->get();
}

}  // namespace ibrl
