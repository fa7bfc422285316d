"""A search in a process of its own, to be killed: OUT MODE, new or resume."""

import sys
import time

import axopt


def search(out: str, *, resume: bool, on_trial=None) -> None:
    model, data = axopt.create_model("digits_cnn"), axopt.load_data("digits")
    emulated = axopt.prepare(model, [data.train.take(40).inputs])
    axopt.search(
        emulated,
        data,
        library=["mul8s_1KV8", "mul8s_1L1G"],
        budget=40,
        population=8,
        seed=5,
        validation_samples=40,
        test_samples=40,
        out=out,
        resume=resume,
        on_trial=on_trial,
    )


def wait(_) -> None:
    """Leave time to be killed."""
    # seconds of imports that a search does not need
    assert "torch._dynamo" not in sys.modules
    time.sleep(0.05)


if __name__ == "__main__":
    search(sys.argv[1], resume=sys.argv[2] == "resume", on_trial=wait)
