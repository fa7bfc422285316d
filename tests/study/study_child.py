"""A search in a process of its own, to be killed: OUT MODE, new or resume."""

import sys

import axopt


def search(out: str, *, resume: bool) -> None:
    model, data = axopt.create_model("digits_cnn"), axopt.load_data("digits")
    emulated = axopt.prepare(model, [data.train.take(100).inputs])
    axopt.search(
        emulated,
        data,
        library=["mul8s_1KV8", "mul8s_1L2D", "mul8s_1L1G", "mul8s_1KR6"],
        budget=40,
        population=8,
        seed=5,
        validation_samples=100,
        test_samples=50,
        out=out,
        resume=resume,
    )


if __name__ == "__main__":
    search(sys.argv[1], resume=sys.argv[2] == "resume")
