"""Every method on a small problem without a simulator: minima, limits, and what is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from larndsim import ArgumentError
from optimize.gradients import KNOWN, get_update
from optimize.methods import METHODS, Gradient, Near
from optimize.methods.gradient import SCHEDULES
from tests.optimize.conftest import Bowl

INSIDE = np.array([0.3, -0.4, 0.5])
START = np.array([-0.2, 0.1, 0.0])
RATES = np.full(3, 0.05)


def make(name, **options):
    return Gradient(RATES, iterations=600, **options) if name == "gradient" else METHODS[name](**options)


def solve(method, objective, start=START, most=600):
    state = method.init(objective, start)
    while state.status == "running" and state.iteration < most:
        state = method.step(objective, state)._replace(iteration=state.iteration + 1)
    return state


@pytest.mark.parametrize("name", METHODS)
def test_minimum(name, differentiable_backend):
    state = solve(make(name), Bowl(INSIDE, backend=differentiable_backend))
    assert state.status == "converged", state.message
    np.testing.assert_allclose(state.u, INSIDE, atol=2e-3)
    assert state.rejected == 0


@pytest.mark.parametrize("name", METHODS)
def test_minimum_beyond_a_limit(name):
    """The parameter stops on its limit, the others at their best for it."""
    bowl = Bowl(np.array([1.35, -0.4, 0.5]))
    state = solve(make(name), bowl)
    assert state.status == "converged", state.message
    limit = bowl.scaling.high[0]
    assert state.u[0] == pytest.approx(limit, abs=2e-3)
    free = bowl.value_and_grad(state.u)[1][1:]
    assert np.abs(free).max() < 2e-3
    assert all((bowl.scaling.low <= u).all() and (u <= bowl.scaling.high).all() for u in bowl.asked)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6, 2.3, 3.0])
def test_scoring_where_data_are_more_or_less_curved_than_expected(factor):
    """Whole steps would circle the minimum for ever from a factor of 2 on."""

    class Curved(Bowl):
        def informed(self, u, seeds):
            found = super().informed(u, seeds)
            return found._replace(matrix=found.matrix / factor)

    state = solve(METHODS["fisher"](tolerance=1e-3), Curved(INSIDE), most=25)
    assert state.status == "converged", state.message
    np.testing.assert_allclose(state.u, INSIDE, atol=2e-3)


def test_scoring_ends_where_the_likelihood_is_no_smoother():
    """Its slope is off by a tenth of an error each time: no step is as short as it should be in the end."""
    rng = np.random.default_rng(7)

    class Rough(Bowl):
        def informed(self, u, seeds):
            found = super().informed(u, seeds)
            return found._replace(score=found.score + 0.1 * np.linalg.cholesky(found.matrix) @ rng.normal(size=3))

    bowl = Rough(INSIDE)
    state = solve(METHODS["fisher"](), bowl, most=60)
    assert state.status == "converged" and "no smoother" in state.message, state.message
    off = state.u - INSIDE
    assert np.sqrt(off @ state.memory["expected"] @ off) < 0.5


class Coarse(Bowl):
    """A loss with coarse ones of two of its parameters, that of the electronics held."""

    def coarse_moves(self):
        return np.array([True, False, True])

    def coarse(self, u):
        return tuple(Bowl(self.bottom[[0, 2]] + 0.1, names=("Ab", "lifetime")) for _ in range(2))


def test_a_coarse_loss_that_says_nothing_is_left_out():
    class Silent(Coarse):
        def coarse(self, u):
            return (Bowl(self.bottom[[0, 2]], names=("Ab", "lifetime"), spoil=lambda _: True), *super().coarse(u))

    objective = Silent(INSIDE, names=("Ab", "threshold", "lifetime"))
    state = Near(METHODS["fisher"]()).init(objective, START)
    assert (state.status, int(state.memory["coarse"])) == ("running", 1)


def test_coming_near_first():
    """The coarse losses move what they know, then the method goes on from there."""
    objective = Coarse(INSIDE, names=("Ab", "threshold", "lifetime"))
    method = Near(METHODS["fisher"](tolerance=1e-3))
    state = method.init(objective, START)
    while "coarse" in state.memory:
        assert state.u[1] == START[1] and state.gradient[1] == 0.0
        assert not objective.asked
        state = method.step(objective, state)._replace(iteration=state.iteration + 1)
    np.testing.assert_allclose(state.u, [INSIDE[0] + 0.1, START[1], INSIDE[2] + 0.1], atol=0.05)
    while state.status == "running":
        state = method.step(objective, state)._replace(iteration=state.iteration + 1)
    np.testing.assert_allclose(state.u, INSIDE, atol=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_start_on_a_limit(name):
    bowl = Bowl(INSIDE)
    state = solve(make(name), bowl, start=np.array([bowl.scaling.low[0], 0.0, 0.0]))
    assert state.status == "converged", state.message
    np.testing.assert_allclose(state.u, INSIDE, atol=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_steps_that_are_not_finite_are_rejected_and_counted(name):
    bowl = Bowl(INSIDE)
    bowl.spoil = lambda u: len(bowl.asked) in (2, 3)
    method, points = make(name), []
    state = method.init(bowl, START)
    while state.status == "running" and state.iteration < 600:
        state = method.step(bowl, state)._replace(iteration=state.iteration + 1)
        points.append(state)
    assert state.status == "converged", state.message
    assert state.rejected == 2
    assert all(np.isfinite(p.loss) and np.isfinite(p.u).all() and np.isfinite(p.gradient).all() for p in points)
    np.testing.assert_allclose(state.u, INSIDE, atol=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_finite_is_a_failure(name):
    state = make(name).init(Bowl(INSIDE, spoil=lambda u: True), START)
    assert state.status == "failed"
    assert "not finite at the initial values" in state.message


@pytest.mark.parametrize("name", METHODS)
def test_nothing_finite_but_the_start_is_a_failure(name):
    bowl = Bowl(INSIDE)
    bowl.spoil = lambda u: len(bowl.asked) > 1
    state = solve(make(name), bowl)
    assert state.status == "failed"
    assert "not finite" in state.message
    np.testing.assert_array_equal(state.u, START)


@pytest.mark.parametrize("name", METHODS)
def test_start_at_the_minimum(name):
    state = solve(make(name), Bowl(INSIDE), start=INSIDE)
    assert state.status == "converged", state.message
    np.testing.assert_allclose(state.u, INSIDE, atol=1e-9)


@pytest.mark.parametrize("name", ["gauss-newton", "lbfgs", "gradient"])
def test_a_parameter_without_effect_is_named(name):
    bowl = Bowl(INSIDE)
    bowl.matrix[:, 1] = 0.0
    state = solve(make(name), bowl)
    assert state.status == "failed"
    assert "kb" in state.message


def test_gauss_newton_takes_few_steps():
    bowl = Bowl(INSIDE)
    solve(make("gauss-newton"), bowl)
    assert len(bowl.asked) < 12


def test_the_gradient_of_a_state_is_that_of_its_point():
    for name in METHODS:
        bowl = Bowl(INSIDE)
        state = solve(make(name), bowl, most=3)
        np.testing.assert_allclose(state.gradient, bowl.value_and_grad(state.u)[1], rtol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw", "adagrad", "nadam", "radam"])
def test_optimizers_by_name(name, differentiable_backend):
    bowl = Bowl(INSIDE, backend=differentiable_backend)
    state = solve(make("gradient", optimizer=name), bowl, most=40)
    assert state.loss < 0.7 * bowl.normal(START).loss


CURVES = np.array([1.0, 30.0, 0.2])
START_OF_OPTIMIZERS = np.array([0.5, -0.3, 0.8])
EACH = np.array([0.05, 0.01, 0.1])


def walk(name, backend, steps=12):
    """Where our update of an optimiser leads on a bowl, its memory going through plain arrays."""
    update, u, memory = get_update(name, backend), START_OF_OPTIMIZERS, {}
    for _ in range(steps):
        u, memory = update(u, CURVES * u, EACH, memory)
        assert all(isinstance(value, np.ndarray) and value.dtype.kind in "fiub" for value in memory.values())
    return u


# fmt: off
TORCH = (
    "adafactor", "adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd",
)
OPTAX = (
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "adan", "lamb", "lion", "nadam",
    "radam", "rmsprop", "rprop", "sgd", "yogi",
)
# fmt: on


@pytest.mark.parametrize("name", TORCH)
def test_every_optimizer_of_torch_is_itself(name):
    """The same steps as torch.optim takes when it keeps its own memory."""
    torch = pytest.importorskip("torch")
    points = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in START_OF_OPTIMIZERS]
    groups = [{"params": [x], "lr": rate} for x, rate in zip(points, EACH, strict=True)]
    optimizer = KNOWN["torch"]()[name](groups)
    for _ in range(12):
        for x, curve in zip(points, CURVES, strict=True):
            x.grad = curve * x.detach()
        optimizer.step()
    np.testing.assert_allclose(walk(name, "torch"), [float(x.detach()) for x in points], rtol=1e-12)


@pytest.mark.parametrize("name", OPTAX)
def test_every_optimizer_of_optax_is_itself(name):
    """The same steps as optax takes in double precision when it keeps its own memory."""
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        optimizer, u = KNOWN["jax"]()[name](1.0), START_OF_OPTIMIZERS
        state = optimizer.init(u)
        for _ in range(12):
            steps, state = optimizer.update(CURVES * u, state, u)
            u = u + EACH * np.asarray(steps)
    np.testing.assert_allclose(walk(name, "jax"), u, rtol=1e-12)


def test_adam_is_the_same_on_both_backends():
    np.testing.assert_allclose(walk("adam", "jax"), walk("adam", "torch"), rtol=1e-6)


def test_optimizers_that_want_more_are_refused():
    for name, backend in (("lbfgs", "torch"), ("sparseadam", "torch"), ("muon", "torch"), ("lbfgs", "jax")):
        if name in KNOWN[backend]():
            with pytest.raises(ArgumentError, match="step on a vector by its gradient"):
                get_update(name, backend)


def test_a_rate_that_lets_nothing_move_is_no_convergence():
    method = Gradient(np.full(3, 1e-7), iterations=600)
    state = solve(method, Bowl(INSIDE), most=120)
    assert state.status == "running"


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    factors = [SCHEDULES[name](done) for done in np.linspace(0, 1, 11)]
    assert max(factors) <= 1.0
    assert factors[-1] == pytest.approx(1.0 if name == "constant" else 0.01)


def test_clipping_limits_the_gradient():
    bowl = Bowl(INSIDE)
    step = Gradient(np.ones(3), optimizer="sgd", clip=1e-3)
    state = step.init(bowl, START)
    assert np.linalg.norm(step.step(bowl, state).u - START) == pytest.approx(1e-3)


def test_batches_are_taken_in_turn():
    step = Gradient(RATES, batches_per_step=2, seed=3)
    bowl = Bowl(INSIDE, batches=tuple(range(4)))
    taken = [step._batches(bowl, iteration) for iteration in range(4)]
    assert sorted(taken[0] + taken[1]) == sorted(taken[2] + taken[3]) == [0, 1, 2, 3]
    assert taken[:2] != taken[2:]
