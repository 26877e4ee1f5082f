#include "env_pool/video_renderer.h"

#include <algorithm>
#include <exception>
#include <future>

#include "env_pool/mujoco_model.h"

namespace ibrl {

VideoRenderer::VideoRenderer() : thread_(1, false, [this](int) { renderers_.clear(); }) {}

void VideoRenderer::render(const mjModel* model, const RenderOptions& options, const std::vector<Env*>& envs,
                           std::uint8_t* pixels) {
    std::promise<void> done;
    thread_.add({[&](int) {
        try {
            MujocoErrorScope errors;
            Renderer* renderer = renderer_for(model, options);
            for (std::size_t i = 0; i < envs.size(); ++i) {
                renderer->render(*envs[i], {pixels + i * options.frame_bytes()});
            }
            done.set_value();
        } catch (...) {
            done.set_exception(std::current_exception());
        }
    }});
    done.get_future().get();
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
