// Scenes that settle in full at every reset: another environment does so ahead of time, on threads without
// work.
#pragma once

#include <memory>
#include <mutex>

namespace ibrl::metaworld {

class SawyerEnv;

// A twin of an environment: the same task, which settles its owner's next scene and does nothing else.
class SettlingTwin {
  public:
    explicit SettlingTwin(std::unique_ptr<SawyerEnv> env);
    ~SettlingTwin();

    // Gives the owner its scene, settled: the twin's own if that is this very one, whatever it was made for.
    void settle(SawyerEnv& owner);

    // Begins the scene of the owner's next draw; whether somebody is to call prepare until that says false.
    bool plan(SawyerEnv& owner);
    bool prepare();

  private:
    std::unique_ptr<SawyerEnv> env_;
    std::mutex mutex_;
    bool is_planned_ = false;  // somebody calls prepare
};

}  // namespace ibrl::metaworld
