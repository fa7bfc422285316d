import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_records import make_full_record, make_record

from axopt.errors import ArgumentError, ReportError
from axopt.report import page, texts, view, write, write_report
from axopt.report.page import report_html
from axopt.report.plot import pareto_png

FILES = ["front.csv", "pareto.png", "report.html"]
NASTY = "<script>alert('x')</script>&\"$\\frac{$ ]]>-->"


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that tags nest."""

    VOID = ("meta", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.urls, self.open = [], [], []
        self.content = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append((tag, named))
        self.urls += [named[name] for name in ("src", "href", "action") if name in named]
        if tag not in self.VOID:
            self.open.append((tag, named.get("id")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            tag, name = self.open[-1]
            self.content.setdefault(name or tag, []).append(data)

    def data(self):
        return json.loads("".join(self.content["data"]))

    def count(self, tag, **attributes):
        return sum(
            found == tag and attributes.items() <= named.items() for found, named in self.tags
        )


def assignments_of(record):
    return {
        point.assignment: json.dumps({"schema": 1, "label": point.label}) for point in record.front
    }


def all_equal(record):
    same = {name: 70.0 for name in ("quality", "quality_low", "quality_high")}
    return replace(
        record,
        exact=replace(record.exact, **same),
        uniform=tuple(replace(point, **same) for point in record.uniform),
        front=tuple(replace(point, **same, rel_power=0.5) for point in record.front),
        float_quality=None,
    )


SHAPES = {
    "usual": make_record(),
    "full": make_full_record(),
    "empty front": make_record(n_front=0),
    "nothing at all": make_record(n_front=0, n_trials=0, uniform=False),
    "one point": make_record(n_front=1, uniform=False),
    "all equal": all_equal(make_record(n_front=3)),
    "large": make_record(n_front=200, n_layers=50, n_trials=2000),
    "nasty names": make_record(n_front=2, title=NASTY, layer_name="</script><b>{group}{block}"),
}


@pytest.mark.parametrize("record", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_of_run_gives_three_good_files(record, tmp_path):
    write_report(record, tmp_path)
    history = ["history.png"] if record.hypervolumes else []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES + history)
    html = Page((tmp_path / "report.html").read_text("utf-8"))
    assert html.count("g", role="radio") == len(record.front)
    assert html.count("g", **{"class": "point dominated"}) == sum(
        point.dominated for point in record.front
    )
    assert len(html.data()["points"]) == len(record.front)
    with Image.open(tmp_path / "pareto.png") as image:
        assert image.format == "PNG"
        assert image.size == (1600, 1200)


def test_same_record_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(make_record(), tmp_path / name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_report_folder_must_exist(record, tmp_path):
    with pytest.raises(ArgumentError, match="`out` must be an existing folder"):
        write_report(record, tmp_path / "missing")


def test_failure_leaves_the_old_report(record, tmp_path, monkeypatch):
    write_report(make_record(n_front=2), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}

    def fail(*_):
        raise RuntimeError("out of ink")

    monkeypatch.setattr(write, "report_html", fail)
    with pytest.raises(RuntimeError, match="out of ink"):
        write_report(record, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def count_colour(image, colour):
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(image - wanted).max(axis=2) < 12).sum())


def test_picture_shows_front_uniform_exact_and_float(record):
    full = pixels(pareto_png(record))
    colours = (view.FRONT_COLOUR, view.UNIFORM_COLOUR, view.FLOAT_COLOUR, view.EXACT_COLOUR)
    assert all(count_colour(full, colour) > 500 for colour in colours)
    bare = pixels(pareto_png(make_record(n_front=0, uniform=False)))
    assert count_colour(bare, view.FRONT_COLOUR) == 0
    assert count_colour(bare, view.UNIFORM_COLOUR) == 0


def test_picture_leaves_no_pyplot_behind(record):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from synthetic_records import make_full_record, make_record\n"
        "from axopt.report.plot import pareto_png\n"
        "pareto_png(make_record(n_front=2, n_trials=3))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    folder = Path(__file__).parent
    subprocess.run([sys.executable, "-W", "error", "-c", code, folder], check=True)


def test_importing_the_room_is_cheap():
    code = (
        "import sys, axopt.report\n"
        "heavy = {'pandas', 'matplotlib', 'numpy', 'torch'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_page_needs_no_network(record):
    text = report_html(record, assignments_of(record))
    assert "http:" not in text
    assert "https:" not in text
    assert "//" not in "".join(Page(text).urls)
    assert set(Page(text).urls) == {point.assignment for point in record.front}
    assert Page(text).count("script") == 2
    assert Page(text).count("link") == 0


def test_script_matches_the_policy_of_the_page(record):
    html = Page(report_html(record, {}))
    script = "".join(html.content["script"])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [
        named["content"]
        for tag, named in html.tags
        if tag == "meta" and named.get("http-equiv") == "Content-Security-Policy"
    ]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_names_are_text_never_markup():
    record = make_record(n_front=2, title=NASTY, layer_name=NASTY.replace("{", "{{") + "{block}")
    point = replace(record.front[0], label=NASTY)
    uniform = tuple(replace(point, label=f"{NASTY}_{i}") for i, point in enumerate(record.uniform))
    record = replace(
        record,
        front=(point, record.front[1]),
        uniform=uniform,
        model=NASTY,
        data=NASTY,
        stop_reason=NASTY,
        algorithm=NASTY,
        reference=NASTY,
        unit=NASTY,
        metric=NASTY,
    )
    text = report_html(record, {record.front[0].assignment: NASTY})
    html = Page(text)
    assert html.count("script") == 2
    assert text.count("<script") == 2
    assert text.count("</script") == 2
    assert html.content["h1"] == [NASTY]
    data = html.data()
    assert data["points"][0]["label"] == NASTY
    assert data["layers"][0]["name"] == NASTY + "0"
    assert data["assignments"] == {record.front[0].assignment: NASTY}
    assert len(pareto_png(record)) > 1000


def test_page_carries_layers_of_every_point(record):
    data = Page(report_html(record, {})).data()
    assert data["macs"] == sum(layer.macs for layer in record.layers)
    for found, point in zip(data["points"], record.front, strict=True):
        assert found["drop"] == record.exact.quality - point.quality
        assert [(data["multipliers"][k], bool(swap)) for k, swap in found["layers"]] == [
            (option.multiplier, option.swap) for option in point.layers
        ]


def test_page_states_settings_and_counts(record):
    html = Page(report_html(record, {}))
    cells = html.content["td"]
    for text in ("resnet20", "nsga2", "budget spent", "1,834.5 s", "v1/mul8s_1KV8", "500", "41"):
        assert text in cells


def test_page_is_readable_without_javascript(record):
    html = Page(report_html(record, {}))
    heads = html.content["th"]
    assert all(point.label in heads for point in record.front)
    assert all(f"{point.rel_power:.4f}" in html.content["td"] for point in record.front)


def test_assignments_given_are_embedded(record):
    given = assignments_of(record)
    assert Page(report_html(record, given)).data()["assignments"] == given


def test_assignments_are_read_from_the_run_folder(record, tmp_path):
    (tmp_path / "assignments").mkdir()
    name = record.front[5].assignment
    (tmp_path / name).write_text('{"schema": 1}')
    write_report(record, tmp_path)
    html = Page((tmp_path / "report.html").read_text("utf-8"))
    assert html.data()["assignments"] == {name: '{"schema": 1}'}


def test_large_assignments_are_linked_instead(record, monkeypatch):
    given = assignments_of(record)
    monkeypatch.setattr(page, "MAX_EMBEDDED_CHARACTERS", sum(map(len, given.values())) - 1)
    html = Page(report_html(record, given))
    assert html.data()["assignments"] == {}
    assert record.front[0].assignment in html.urls


def test_usual_page_is_small(record):
    assert len(report_html(record, assignments_of(record))) < 100_000


def test_page_says_what_was_compared_with_what(record, full_record):
    html = Page(report_html(full_record, {}))
    legend = " ".join(html.content["li"])
    assert "exact multiplier, corrected (baseline): 81.75 %" in legend
    assert "exact multiplier, uncorrected: 81.65 %" in legend
    assert "chosen on validation, dominated on test" in legend
    first = full_record.front[0]
    drop = f"{first.drop:.2f} [{first.drop_low:.2f}, {first.drop_high:.2f}]"
    assert drop in html.content["td"]
    assert "0.00 (baseline)" in html.content["td"]
    assert html.count("tr", **{"class": "dominated"}) == html.content["td"].count("dominated") > 0
    assert "Drop (pp) [95 % interval]" in html.content["th"]
    assert "Drop (pp)" in Page(report_html(record, {})).content["th"]  # no interval measured
    old = " ".join(Page(report_html(record, {})).content["li"])
    assert "exact multiplier (baseline): 81.65 %" in old
    assert "corrected" not in old


def test_page_states_what_its_reader_must_know(full_record):
    html = Page(report_html(full_record, {}))
    notices = [text for text in html.content["p"] if text in texts.notices(full_record)]
    assert len(notices) == html.count("p", **{"class": "notice"}) == 3
    assert "interrupted" in notices[0]
    assert "97.4 % of the multiplications" in notices[1]
    assert "head.matmul (120,000), gate (300)" in notices[1]
    assert notices[2] == full_record.notes[0]
    assert "exhaustive (nsga2 was asked for)" in html.content["td"]
    assert "crossover = 0.9, elitist = True, start = None, mutation = bit" in html.content["td"]


def test_one_evaluation_is_singular(record):
    assert "1 evaluation on" in texts.run_line(replace(record, n_evaluated=1))


def test_full_coverage_needs_no_notice(full_record):
    whole = replace(full_record, coverage=1.0, left_out=(), partial=False, notes=())
    assert texts.notices(whole) == []
    assert "100.0 % of the multiplications" in report_html(whole, {})
    almost = replace(whole, coverage=0.98999)
    assert "Only 98.9 % of" in texts.notices(almost)[0]


def test_picture_shows_the_baseline_and_dominated_points(record, full_record):
    assert pareto_png(full_record) != pareto_png(replace(full_record, baseline=None))
    front = tuple(replace(point, dominated=False) for point in full_record.front)
    plain = replace(full_record, front=front)
    assert pareto_png(full_record) != pareto_png(plain)


def test_four_hundred_uniform_points_take_no_three_seconds(record, tmp_path):
    uniform = tuple(
        replace(
            record.uniform[i % 12 + 1],
            label=f"user/multiplier_{i:03d}",
            rel_power=0.1 + (i * 37 % 400) / 450,
        )
        for i in range(400)
    )
    crowded = replace(record, uniform=uniform)
    write_report(make_record(n_front=1), tmp_path)  # matplotlib and pandas are imported
    started = time.process_time()
    write_report(crowded, tmp_path)
    assert time.process_time() - started < 3


def test_endless_titles_are_elided(record, tmp_path):
    long = replace(record, title="T" * 10_000, data="d" * 9_000, notes=("n" * 9_000,))
    write_report(long, tmp_path)
    html = Page((tmp_path / "report.html").read_text("utf-8"))
    assert html.content["h1"] == ["T" * (texts.TITLE_CHARACTERS - 1) + "…"]


def test_characters_that_the_font_lacks_are_no_warning(record):
    assert len(pareto_png(replace(record, title="数字 \U0001f600 \x00\n\t on digits"))) > 1000


def test_control_characters_do_not_reach_the_page(record):
    point = replace(record.front[0], label="a\x00\x1b\x9fb")
    text = report_html(replace(record, title="t\x00\x08t", front=(point,)), {})
    assert not [c for c in text if ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160]
    assert Page(text).data()["points"][0]["label"] == "a\x00\x1b\x9fb"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "must be UTF-8"),
        (b'{"layers": {"conv', "must be JSON: Unterminated string"),
        (b"", "must be JSON: Expecting value"),
        (b"[" * 100_000, "must be JSON: maximum recursion"),
        (b"1" * 5000, "must be JSON: Exceeds the limit"),
        (b"null", "must be a JSON object, got a NoneType"),
    ],
)
def test_a_damaged_assignment_is_named_and_not_embedded(record, tmp_path, content, message):
    (tmp_path / "assignments").mkdir()
    (tmp_path / record.front[5].assignment).write_bytes(content)
    with pytest.raises(ReportError, match=f"point-05.json: {message}"):
        write_report(record, tmp_path)
    assert not (tmp_path / "front.csv").exists()


def test_a_folder_in_the_place_of_an_assignment_is_named(record, tmp_path):
    (tmp_path / record.front[5].assignment).mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"point-05\.json"):
        write_report(record, tmp_path)


def test_huge_assignments_are_not_read(record, tmp_path):
    (tmp_path / "assignments").mkdir()
    with open(tmp_path / record.front[0].assignment, "wb") as file:
        file.truncate(50_000_000_000)  # sparse
    write_report(record, tmp_path)
    html = Page((tmp_path / "report.html").read_text("utf-8"))
    assert html.data()["assignments"] == {}


def test_an_untreated_run_has_one_exact_point(record):
    untreated = replace(record, baseline=record.exact)
    legend = " ".join(Page(report_html(untreated, {})).content["li"])
    assert "exact multiplier (baseline): 81.65 %" in legend
    assert "corrected" not in legend


def test_corrected_and_uncorrected_are_both_named_where_their_figures_are_equal(record):
    treated = replace(record, baseline=replace(record.exact, label="baseline"))
    html = Page(report_html(treated, {}))
    legend = " ".join(html.content["li"])
    assert "exact multiplier, uncorrected: 81.65 %" in legend
    assert "exact multiplier, corrected (baseline): 81.65 %" in legend
    named = [text for text in html.content["th"] if "corrected" in text]
    assert len(named) == 2


def test_figures_of_an_interrupted_run_are_not_said_to_be_from_test(full_record):
    def seen(point):
        return replace(point, split="validation")

    partial = replace(
        full_record,
        exact=seen(full_record.exact),
        baseline=seen(full_record.baseline),
        uniform=tuple(map(seen, full_record.uniform)),
        front=tuple(map(seen, full_record.front)),
    )
    text = re.sub(r"<script.*?</script>", "", report_html(partial, {}), flags=re.DOTALL)
    assert "All figures are from the validation split" in text
    assert "on test" not in text
