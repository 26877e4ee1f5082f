"""What an environment of robosuite is beside its model: names, controller, placement, success.

`describe` reads it off an environment that has been reset, so that nothing is copied by hand. The result is
stored as JSON beside the model (`model_store`), for environments that run without robosuite. Lengths in m,
angles in rad, times in s; quaternions are w, x, y, z as in MuJoCo's arrays unless a name says xyzw; ids and
addresses are those of the model beside it.

    task, env_name            robosuite/can, PickPlaceCan
    robosuite, mujoco         versions
    model, xml                file, bytes, crc32 (of `model_store`)
    controller_configs        as robosuite's environments take them
    sizes                     nq, nv, nu of the model; a robomimic `states` row is [time, qpos, qvel]
    control                   period, substeps, timestep
    arm                       joints (names), qpos, qvel (addresses), actuators (ids), init_qpos [7],
                              noise (standard deviation of the normal noise on it), ctrl_low, ctrl_high [7]
    osc                       site, origin_site (names), site_id, origin_site_id, kp [6], kd [6], input_low,
                              input_high, output_low, output_high [6], nullspace_kp, nullspace_kd, uncoupled
    gripper                   joints, qpos, qvel, actuators, init_qpos [2], speed, signs [2], ctrl_low,
                              ctrl_high [2]
    observation               eef_site_id (position), eef_body_id (quaternion), object_body_id, object_layout
                              (entries of `object` in order), object_names (robosuite's names of these)
    placements                in the order of drawing; each: name, joint (or none: fixed in the model),
                              qpos (address or none), x_range, y_range, rotation (none: a full turn, drawn, or
                              a number: fixed), boundary_in_range, valid_placement, reference, z_offset,
                              horizontal_radius, bottom_z, top_z, init_quat (or none), is_hidden (put to
                              `hidden_qpos` after drawing)
    hidden_qpos               [7]
    success                   lift: table_height, height; can: low [3], high [3], reach; square: peg_body_id,
                              half_width, below, reach (docs/robosuite.md)
    cube                      lift alone: body_id, geom_ids, size_low, size_high [3] (half sizes, drawn at
                              every reset; the placement's radius and heights follow them), density, size
                              [3] of the stored model
    cameras                   name -> id
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.robosuite.tasks import CONTROL_PERIOD, Published

NULLSPACE_KP = 10.0
"""Gain of the torques that hold the arm's posture, a constant of robosuite's controller."""
HIDDEN_QPOS = (10.0, 10.0, 10.0, 1.0, 0.0, 0.0, 0.0)
"""Where robosuite puts objects that a task does not use."""
REACH = 0.6
"""Success asks that 1 - tanh(10 d) be less, d the distance of hand and object."""


def describe(env: Any, published: Published) -> dict[str, Any]:
    """Return the facts of an environment of robosuite that has been reset, as JSON holds them."""
    model = env.sim.model._model
    facts = {
        "env_name": published.env_name,
        "sizes": {"nq": int(model.nq), "nv": int(model.nv), "nu": int(model.nu)},
        "control": {
            "period": CONTROL_PERIOD,
            "substeps": int(env.control_timestep / env.model_timestep),
            "timestep": float(model.opt.timestep),
        },
        "arm": _arm(env.robots[0], model),
        "osc": _osc(env.robots[0], model),
        "gripper": _gripper(env.robots[0], model),
        "observation": _observation(env, published),
        "placements": _placements(env, published),
        "hidden_qpos": list(HIDDEN_QPOS),
        "success": _success(env, published),
        "controller_configs": env.robots[0].composite_controller_config,
        "cameras": {model.camera(index).name: index for index in range(model.ncam)},
    }
    if published.env_name == "Lift":
        facts["cube"] = _cube(env, model)
    return facts


def _floats(values: Any) -> list[float]:
    return [float(value) for value in np.asarray(values, dtype=np.float64).ravel()]


def _ints(values: Any) -> list[int]:
    return [int(value) for value in values]


def _ctrl_range(model: mujoco.MjModel, actuators: list[int]) -> dict[str, list[float]]:
    limits = model.actuator_ctrlrange[actuators]
    return {"ctrl_low": _floats(limits[:, 0]), "ctrl_high": _floats(limits[:, 1])}


def _arm(robot: Any, model: mujoco.MjModel) -> dict[str, Any]:
    noise = robot.initialization_noise
    assert noise["type"] == "gaussian"
    actuators = _ints(robot._ref_actuators_indexes_dict["right"])
    return {
        "joints": list(robot.robot_model.arm_joints),
        "qpos": _ints(robot._ref_arm_joint_pos_indexes),
        "qvel": _ints(robot._ref_arm_joint_vel_indexes),
        "actuators": actuators,
        "init_qpos": _floats(robot.init_qpos),
        "noise": float(noise["magnitude"]),
        **_ctrl_range(model, actuators),
    }


def _osc(robot: Any, model: mujoco.MjModel) -> dict[str, Any]:
    controller = robot.part_controllers["right"]
    origin = f"{controller.naming_prefix}{controller.part_name}_center"
    assert controller.name == "OSC_POSE" and controller.input_ref_frame == "base"
    assert controller.input_type == "delta" and controller._goal_update_mode == "achieved"
    assert controller.interpolator_pos is None and controller.interpolator_ori is None
    return {
        "site": controller.ref_name,
        "site_id": int(model.site(controller.ref_name).id),
        "origin_site": origin,
        "origin_site_id": int(model.site(origin).id),
        "kp": _floats(controller.kp),
        "kd": _floats(controller.kd),
        "input_low": _floats(controller.input_min),
        "input_high": _floats(controller.input_max),
        "output_low": _floats(controller.output_min),
        "output_high": _floats(controller.output_max),
        "nullspace_kp": NULLSPACE_KP,
        "nullspace_kd": float(np.sqrt(NULLSPACE_KP) * 2),
        "uncoupled": bool(controller.uncoupling),
    }


def _gripper(robot: Any, model: mujoco.MjModel) -> dict[str, Any]:
    gripper, controller = robot.gripper["right"], robot.part_controllers["right_gripper"]
    assert controller.use_action_scaling and controller.interpolator is None
    # the action 1 moves one finger's command down and the other's up
    gripper.current_action = np.zeros(gripper.dof)
    signs = np.sign(gripper.format_action(np.ones(gripper.dof)))
    gripper.current_action = np.zeros(gripper.dof)
    actuators = _ints(robot._ref_joint_gripper_actuator_indexes["right"])
    return {
        "joints": list(gripper.joints),
        "qpos": _ints(robot._ref_gripper_joint_pos_indexes["right"]),
        "qvel": _ints(robot._ref_gripper_joint_vel_indexes["right"]),
        "actuators": actuators,
        "init_qpos": _floats(gripper.init_qpos),
        "speed": float(gripper.speed),
        "signs": _floats(signs),
        **_ctrl_range(model, actuators),
    }


def _observation(env: Any, published: Published) -> dict[str, Any]:
    robot, model, name = env.robots[0], env.sim.model._model, published.object_name
    objects = {"cube": "cube_main", "Can": "Can_main", "SquareNut": "SquareNut_main"}
    relative = [f"{name}_to_robot0_eef_pos", f"{name}_to_robot0_eef_quat"]
    names = [f"{name}_pos", f"{name}_quat"]
    layout = ["pos", "quat_xyzw"]
    if published.env_name == "Lift":
        names, layout = [*names, f"gripper_to_{name}_pos"], [*layout, "pos_minus_eef"]
    else:
        names, layout = [*relative, *names], ["pos_in_eef", "quat_in_eef_xyzw", *layout]
    assert [key for key in env._observables if key in names] == names
    return {
        "eef_site_id": int(robot.eef_site_id["right"]),
        "eef_body_id": int(model.body(robot.robot_model.eef_name["right"]).id),
        "object_body_id": int(model.body(objects[name]).id),
        "object_layout": layout,
        "object_names": names,
    }


def _placements(env: Any, published: Published) -> list[dict[str, Any]]:
    """List what a reset draws, sampler by sampler, object by object."""
    initializer, model = env.placement_initializer, env.sim.model._model
    placements = []
    for sampler in getattr(initializer, "samplers", {"": initializer}).values():
        assert sampler.rotation_axis == "z"
        for thing in sampler.mujoco_objects:
            joint = thing.joints[0] if thing.joints else None
            rotation = sampler.rotation
            is_used = thing.name == published.object_name
            placements.append(
                {
                    "name": thing.name,
                    "joint": joint,
                    "qpos": None if joint is None else int(model.joint(joint).qposadr[0]),
                    "x_range": _floats(sampler.x_range),
                    "y_range": _floats(sampler.y_range),
                    "rotation": None if rotation is None else float(rotation),
                    "boundary_in_range": bool(sampler.ensure_object_boundary_in_range),
                    "valid_placement": bool(sampler.ensure_valid_placement),
                    "reference": _floats(sampler.reference_pos),
                    "z_offset": float(sampler.z_offset),
                    "horizontal_radius": float(thing.horizontal_radius),
                    "bottom_z": float(thing.bottom_offset[-1]),
                    "top_z": float(thing.top_offset[-1]),
                    "init_quat": _floats(thing.init_quat) if hasattr(thing, "init_quat") else None,
                    "is_hidden": joint is not None and not is_used,
                }
            )
    return placements


def _success(env: Any, published: Published) -> dict[str, Any]:
    if published.env_name == "Lift":
        return {"table_height": float(env.model.mujoco_arena.table_offset[2]), "height": 0.04}
    if published.env_name == "NutAssemblySquare":
        return {
            "peg_body_id": int(env.peg1_body_id),
            "half_width": 0.03,
            "below": float(env.table_offset[2] + 0.05),
            "reach": REACH,
        }
    # the can's quarter of the second bin, the one farthest along x and y
    corner, size = env.bin2_pos, env.bin_size
    assert env.object_id == 3
    return {
        "low": _floats(corner),
        "high": _floats([corner[0] + size[0] / 2, corner[1] + size[1] / 2, corner[2] + 0.1]),
        "reach": REACH,
    }


def _cube(env: Any, model: mujoco.MjModel) -> dict[str, Any]:
    body = int(env.cube_body_id)
    geoms = _ints(index for index in range(model.ngeom) if model.geom_bodyid[index] == body)
    size = model.geom_size[geoms[0]]
    return {
        "body_id": body,
        "geom_ids": geoms,
        "size": _floats(size),
        "size_low": [0.020, 0.020, 0.020],
        "size_high": [0.022, 0.022, 0.022],
        "density": float(env.cube.density),
    }
