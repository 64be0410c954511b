"""Every method takes real steps: tiny networks, real clips, losses that are finite and fall."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.branches import BranchNetworks, evaluations
from distill.data.clip_set import ClipSet
from distill.data.draws import StepDraw
from distill.data.speech_set import SpeechSet
from distill.methods import consistency, recipes, rollout
from distill.methods.adversarial import AdversarialStage
from distill.methods.consistency import ConsistencyStage, StepStage
from distill.methods.dmd import DMDStage
from distill.methods.mixed import Mixer, mixed_loss
from distill.methods.naive import one_branch
from distill.methods.recipes import RECIPES, Recipe
from distill.methods.sample import Drawing, draw_sample, draw_scale, grid_times, tell
from distill.methods.stage import StudentStage, start_student
from distill.methods.tokens import controlled, student_from
from models.avatar_model import AvatarModel
from models.checkpoint import read_tensors
from models.diffusion.guidance import guided_x0
from models.diffusion.samplers import ddim
from models.modules.unet import Conditions
from models.networks import WindowConditions
from models.runtimes.torch_networks import TorchNetworks
from models.weights import load_model
from tests.models.tiny import tiny_model, tiny_preset

CPU = "cpu"
ROWS, FRAMES = 4, 5


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipSet, ClipSet]:
    root = tmp_path_factory.mktemp("data")
    torch.manual_seed(0)
    vae = AvatarModel(tiny_preset(), "teacher").vae.eval()
    made = []
    for quality in ("high", "moderate"):
        speech = SpeechSet(root, "train", 2, seconds=3.0, quality=quality)
        made.append(ClipSet(root, tiny_preset(), vae, speech, "train", 2, frames=14, quality=quality))
    return made[0], made[1]


def draw_of(step: int) -> StepDraw:
    return StepDraw(seed=3, step=step, first=0, rows=ROWS, total=ROWS)


def run_steps(stage: StudentStage | StepStage, steps: int) -> list[float]:
    optimizer = torch.optim.Adam([p for p in stage.trainable().parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for step in range(steps):
        loss, _ = stage.loss(draw_of(step % 2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_and_its_file_says_which(
    name: str, sets: tuple[ClipSet, ClipSet], tmp_path: Path
) -> None:
    teacher = tiny_model("teacher", seed=1)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    chosen = RECIPES[name]
    student = start_student(teacher, chosen)
    with torch.no_grad():  # away from the teacher, whom Balanced would else equal from the start
        for parameter in student.denoiser.parameters():
            parameter.mul_(1.1)
    stage = StudentStage(student, teacher, *sets, ROWS, FRAMES, CPU, chosen)
    losses = run_steps(stage, 12)
    assert all(torch.isfinite(torch.tensor(losses))) and sum(losses[-2:]) < sum(losses[2:4])
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items()), "the teacher is frozen"
    assert bool(stage.trunk.mixer.teacher_error.any()) == chosen.mixed
    stage.save(tmp_path / "model.safetensors", {"steps": 12})
    notes = read_tensors(tmp_path / "model.safetensors")[1]["notes"]
    assert notes["method"] == name and notes["branches"] == chosen.branches
    assert load_model(tmp_path / "model.safetensors").role == ("student" if chosen.tokens else "teacher")


@pytest.mark.parametrize(
    "kind",
    [
        ConsistencyStage,
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in (DMDStage, AdversarialStage)),
    ],
)
def test_a_step_stage_trains_the_student_alone(kind: type[StepStage], sets: tuple[ClipSet, ClipSet]) -> None:
    fast = tiny_model("student", seed=2)
    before = {k: v.clone() for k, v in fast.state_dict().items()}
    student = AvatarModel(tiny_preset(), "student")
    student.load_state_dict(before)
    stage = kind(student, fast, *sets, ROWS, FRAMES, CPU)
    losses = run_steps(stage, 8)
    assert all(torch.isfinite(torch.tensor(losses)))
    assert all(torch.equal(v, before[k]) for k, v in fast.state_dict().items()), "the Fast student is frozen"
    moved = [k for k, v in student.state_dict().items() if not torch.equal(v, before[k])]
    assert any(k.startswith("denoiser.") for k in moved)
    assert not any(k.startswith(("vae.", "audio.")) for k in moved)


def test_the_critic_learns_from_its_own_loss_alone(sets: tuple[ClipSet, ClipSet]) -> None:
    fast = tiny_model("student", seed=2)
    student = AvatarModel(tiny_preset(), "student")
    student.load_state_dict(fast.state_dict())
    stage = AdversarialStage(student, fast, *sets, ROWS, FRAMES, CPU)
    run_steps(stage, 1)
    assert all(p.requires_grad for p in stage.trunk.critic.parameters())


def test_consistency_targets_follow_the_student(sets: tuple[ClipSet, ClipSet]) -> None:
    fast = tiny_model("student", seed=2)
    student = AvatarModel(tiny_preset(), "student")
    student.load_state_dict(fast.state_dict())
    stage = ConsistencyStage(student, fast, *sets, ROWS, FRAMES, CPU)
    weight = stage.target.denoiser.leave.weight
    before = weight.clone()
    run_steps(stage, 1)
    assert torch.equal(weight, before), "the first target is the Fast student itself"
    moved = student.denoiser.leave.weight.detach().clone()
    stage._follow()
    expected = torch.lerp(before, moved, 1 - consistency.TARGET_DECAY)
    torch.testing.assert_close(weight, expected)


def test_the_mixer_trusts_the_truth_where_the_teacher_fails() -> None:
    mixer = Mixer()
    t, high = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([True, True, False])
    for _ in range(50):
        share = mixer(torch.tensor([1.0, 1.0, 4.0]), torch.tensor([2.0, 2.0, 5.0]), t, high)
    assert share[0] == pytest.approx(1.0, abs=0.05) and share[2] == pytest.approx(0.25, abs=0.02)
    wrong_lips = mixer(torch.tensor([1.0, 1.0, 4.0]), torch.tensor([2.0, 2.0, 3.5]), t, high)
    assert wrong_lips[2] == 1, "where hearing makes it worse, the lips belong to another sound"
    loss = mixed_loss(torch.tensor([2.0]), torch.tensor([4.0]), torch.tensor([0.25]))
    assert loss.item() == pytest.approx(0.25 * 2 + 0.75 * 4)


def test_times_lie_on_the_grid_and_scales_in_their_range() -> None:
    draws = torch.rand(4000, 3, generator=torch.Generator().manual_seed(1))
    t = grid_times(draws, (2, 4))
    on_grid = (t.unsqueeze(1) - torch.tensor([1.0, 0.75, 0.5, 0.25])).abs().min(1).values < 1e-6
    assert on_grid.float().mean() == pytest.approx(0.75, abs=0.03) and t.min() > 0 and t.max() <= 1
    scales = draw_scale(draws[:, :2], (0.0, 2.5), 1.4)
    assert scales.min() >= 0 and scales.max() <= 2.5
    assert ((scales - 1.4).abs() <= 0.375 + 1e-6).float().mean() > 0.55


def test_rows_do_not_depend_on_how_the_batch_is_split(sets: tuple[ClipSet, ClipSet]) -> None:
    model = tiny_model("student", seed=2)
    drawing = Drawing([(sets[0], 0.5), (sets[1], 0.5)], FRAMES, (6,), True, CPU)
    whole, _ = draw_sample(model, drawing, draw_of(5), lead=4)
    later, _ = draw_sample(model, drawing, StepDraw(3, 5, first=2, rows=2, total=ROWS), lead=4)
    for name in ("x_t", "t", "s_ref", "s_aud", "audio"):
        torch.testing.assert_close(getattr(later, name), getattr(whole, name)[2:])
    torch.testing.assert_close(later.batch.motion, whole.batch.motion[2:])


def test_the_later_window_holds_its_own_sound_and_frames(sets: tuple[ClipSet, ClipSet]) -> None:
    model = tiny_model("student", seed=2)
    drawing = Drawing([(sets[0], 1.0)], FRAMES, (6,), True, CPU)
    sample, long = draw_sample(model, drawing, draw_of(1), lead=4)
    torch.testing.assert_close(sample.batch.x_0, long.x_0[:, 4:])
    cfg = model.preset.audio
    assert sample.batch.audio.shape[1] == cfg.context_samples + FRAMES * 640 + cfg.lookahead_samples
    torch.testing.assert_close(sample.batch.audio, long.audio[:, 4 * 640 :])


def test_rolled_motion_frames_are_the_students_own(sets: tuple[ClipSet, ClipSet]) -> None:
    model = tiny_model("student", seed=2)
    drawing = Drawing([(sets[0], 1.0)], FRAMES, (6,), True, CPU)
    sample, long = draw_sample(model, drawing, draw_of(1), lead=4)
    rows = rollout.rolled_rows(1, ROWS)
    seen = rollout.rolled(model, sample, long, 4, rows)
    changed = (seen.batch.motion != sample.batch.motion).flatten(1).any(1).tolist()
    assert changed == [False, False, False, True]  # global rows 1..4: the fourth rolls
    assert rollout.rolled_rows(0, 4) == slice(0, 4, 4) and rollout.rolled_rows(4, 4).start == 0


def test_the_lead_follows_the_hop_as_far_as_a_window_goes() -> None:
    preset = tiny_preset()
    assert preset.stream.hop_frames == 4 and preset.unet.motion_frames == 2
    assert [rollout.lead_frames(preset, frames) for frames in (2, 3, 4, 9)] == [2, 3, 4, 4]
    short = replace(preset, stream=replace(preset.stream, hop_frames=1, overlap_frames=0))
    assert rollout.lead_frames(short, 5) == 2
    with pytest.raises(ValueError, match="windows of 2 frames or more"):
        rollout.lead_frames(preset, 1)


def test_rolled_latents_are_where_the_students_own_sampler_would_be(sets: tuple[ClipSet, ClipSet]) -> None:
    model = tiny_model("student", seed=2)
    drawing = Drawing([(sets[0], 1.0)], FRAMES, (6,), True, CPU)
    sample, long = draw_sample(model, drawing, draw_of(1), lead=4)
    sample = replace(sample, t=torch.full((ROWS,), 0.5))
    seen = rollout.rolled(model, sample, long, 4, rollout.rolled_rows(0, ROWS))
    assert torch.equal(seen.x_t[1:], sample.x_t[1:]) and not torch.equal(seen.x_t[0], sample.x_t[0])
    states: list[torch.Tensor] = []
    told = replace(tell(model, seen), control=model.control(seen.s_ref, seen.s_aud))

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        states.append(x_t)
        return model.denoiser(x_t, t, told)

    with torch.no_grad():
        ddim(predict, seen.noise, 2)  # its second step is at t = 1/2
    torch.testing.assert_close(seen.x_t[0], states[1][0])


def test_three_branches_stream_as_the_guided_teacher_and_one_as_its_audio_branch() -> None:
    teacher = tiny_model("teacher", seed=1)
    generator = torch.Generator().manual_seed(4)
    three = BranchNetworks(teacher, 3, torch.device(CPU), torch.float32)
    rows, shape = 2, teacher.preset.latent_shape
    read = [three.encode_reference(torch.rand(1, 3, 160, 160, generator=generator)) for _ in range(rows)]
    latent = torch.cat([one[0] for one in read])
    still = tuple(torch.cat(parts) for parts in zip(*(one[1] for one in read), strict=True))
    motion = torch.randn(rows, 2, *shape, generator=generator)
    moving = three.motion_banks(motion)
    x_t = torch.randn(rows, FRAMES, *shape, generator=generator)
    audio = torch.randn(rows, FRAMES, teacher.preset.unet.audio_width, generator=generator)
    gesture = torch.rand(rows, FRAMES, 4, generator=generator)
    t, scales = torch.tensor([0.9, 0.4]), torch.tensor([[1.0, 1.4], [0.5, 2.0]])
    told = WindowConditions(audio, gesture, latent, still, moving, scales)
    with torch.no_grad():
        # banks as training sees them: keys and values made inside, not once per session and hop as in `still`
        cond = Conditions(audio, gesture, latent, teacher.reference_net(latent, motion))
        guided, plain = guided_x0(teacher.denoiser, x_t, t, cond, scales[:, 0], scales[:, 1])
        torch.testing.assert_close(three.denoise(x_t, t, told), guided)
        one = BranchNetworks(teacher, 1, torch.device(CPU), torch.float32)
        torch.testing.assert_close(one.denoise(x_t, t, told), plain, rtol=1e-4, atol=1e-5)
    assert evaluations(teacher, 3, 25) == 75 and evaluations(tiny_model("student"), 3, 6) == 6


def test_wrong_use_is_refused_with_a_sentence(sets: tuple[ClipSet, ClipSet]) -> None:
    with pytest.raises(ValueError, match="Unknown method 'magic'"):
        recipes.recipe("magic")
    with pytest.raises(ValueError, match="tokens fold them into 1"):
        Recipe("x", "", True, True, 3, False)
    with pytest.raises(ValueError, match="1 or 3 branches"):
        BranchNetworks(tiny_model("teacher"), 2, torch.device(CPU), torch.float32)
    with pytest.raises(ValueError, match="without CFG tokens"):
        BranchNetworks(tiny_model("student"), 3, torch.device(CPU), torch.float32)
    with pytest.raises(ValueError, match="needs a student with CFG tokens"):
        ConsistencyStage(tiny_model("teacher"), tiny_model("teacher"), *sets, ROWS, FRAMES, CPU)


def test_student_starts_as_its_teacher(sets: tuple[ClipSet, ClipSet]) -> None:
    teacher = tiny_model("teacher", seed=1)
    student = student_from(teacher).eval()
    assert TorchNetworks(student, torch.device(CPU), torch.float32).model is student
    drawing = Drawing([(sets[0], 1.0)], FRAMES, (6,), True, CPU)
    sample, _ = draw_sample(teacher, drawing, draw_of(0))
    with torch.no_grad():
        torch.testing.assert_close(controlled(student, sample), one_branch(teacher, sample))
