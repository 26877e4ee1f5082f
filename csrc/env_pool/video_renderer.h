// Pictures for videos, on a thread of their own: the caller's OpenGL context stays as it is.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "env_pool/renderer.h"
#include "env_pool/worker_threads.h"

namespace ibrl {

class VideoRenderer {
  public:
    VideoRenderer();

    // Upright pictures [envs.size(), size, size, 3] by the one camera of the options.
    void render(const mjModel* model, const RenderOptions& options, const std::vector<Env*>& envs,
                std::uint8_t* pixels);

  private:
    Renderer* renderer_for(const mjModel* model, const RenderOptions& options);

    std::vector<std::unique_ptr<Renderer>> renderers_;  // by size and camera, on the thread
    std::mutex mutex_;
    std::condition_variable done_;
    WorkerThreads thread_;
};

}  // namespace ibrl
