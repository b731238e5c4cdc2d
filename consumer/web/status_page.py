"""The page of ``/status``: plain HTML that renews itself, without a script and without the internet.

Everything that comes out of an event goes through `html.escape`; should something slip through, the page's
policy lets nothing run or load.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from consumer.failures import FailedEvent
from consumer.model.trials import told_speed
from consumer.status import HeldUp, ModelChoice, PartitionStatus, Status, StreamStatus

REFRESH_S: Final = 5

STALE_S: Final = 5.0
"""The stream reports every second; it may be in a publication for some more."""

HELD_LONG_S: Final = 30.0
"""From when on an event that holds its partition up is marked: three default fetch deadlines."""

MODEL_ID: Final = "model"
"""Where the page says how the model is run."""

STYLE: Final = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b1f24;--dim:#5c6670;--line:#d9dee4;
--ok:#1a7f45;--okbg:#e3f4ea;--warn:#8a5a00;--warnbg:#fff3d6;--bad:#b3261e;--badbg:#fdeae8}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2126;--ink:#e6e9ed;--dim:#9aa4af;--line:#343a42;
--ok:#6fd195;--okbg:#173524;--warn:#f2c261;--warnbg:#3a2d10;--bad:#ff9a91;--badbg:#431c19}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:20px 16px 40px}
header{display:flex;flex-wrap:wrap;gap:4px 20px;align-items:baseline}
h1{font-size:22px;margin:0}h2{font-size:16px;margin:28px 0 8px}
header p,.dim{color:var(--dim);margin:0}.note{color:var(--dim);margin:8px 0 0;font-size:13px}a{color:inherit}
.state{border-radius:8px;padding:12px 16px;margin:14px 0;font-weight:600;border:1px solid}
.state ul{margin:6px 0 0;padding-left:20px;font-weight:400}
.ok{color:var(--ok);background:var(--okbg)}.warn{color:var(--warn);background:var(--warnbg)}
.bad{color:var(--bad);background:var(--badbg)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:8px}
.tile{padding:10px 14px}.tile b{display:block;font-size:22px;font-variant-numeric:tabular-nums}
.tile span{color:var(--dim);font-size:13px}
.tile.warn b,.tile.bad b{color:inherit}
.card{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:6px 12px;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
thead th{border-top:0;color:var(--dim);font-weight:500;font-size:13px;white-space:nowrap}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;overflow-wrap:normal}
.t,code{white-space:nowrap}code,.u{font:13px/1.5 ui-monospace,monospace}
td .mark{border-radius:4px;padding:1px 6px}
.none{padding:10px 14px;color:var(--dim)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:10px;align-items:start}
.facts th{font-weight:500;color:var(--dim);width:45%}.facts tr:first-child>*{border-top:0}
@media(max-width:700px){
thead{display:none}table,tbody{display:block}
.rows tr{display:block;padding:8px 0;border-top:1px solid var(--line)}.rows tr:first-child{border-top:0}
.rows td{display:flex;gap:12px;justify-content:space-between;border:0;padding:2px 14px;text-align:right}
.rows td::before{content:attr(data-of);color:var(--dim);text-align:left;flex:none}
.rows td:empty{display:none}.rows td .u{text-align:left}.facts{grid-template-columns:1fr}
.facts tbody{display:table;width:100%}.tiles{grid-template-columns:1fr 1fr}}
"""

CONTENT_SECURITY: Final = "; ".join(
    [
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


def page(status: Status) -> str:
    """The whole page."""
    stream = status.stream
    parts = [_header(status), _state(status)]
    if stream:
        parts += [_tiles(stream, status), _partitions(stream.partitions, status.at), _codes(stream)]
    parts.append(_last_failures(status.last_failures, status.at))
    if status.choice:
        parts.append(_choice(status.choice, status.at))
    parts.append(_facts(status))
    return _frame("".join(parts), refresh=True)


def no_key() -> str:
    """What a browser shows whose user gave no key, or a wrong one."""
    return _frame(
        "<header><h1>image-consumer</h1></header>"
        '<div class="state warn">This page wants the key in HTTP_API_KEY</div>'
        "<p>Load it again and give any user name, and the key as the password. Programs send the header "
        "<code>Authorization: Bearer KEY</code>.</p>",
        refresh=False,
    )


def _frame(body: str, *, refresh: bool) -> str:
    again = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{again}'
        '<title>image-consumer: status</title><link rel="icon" href="docs/favicon-32x32.png">'
        f"<style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    )


# ── from top to bottom ───────────────────────────────────────────────────────────────────────────


def _header(status: Status) -> str:
    model = status.model
    runs = "no model loaded yet"
    if model:
        runs = f"{escape(model.name)} {escape(model.version)} on {escape(model.backend)}, {escape(model.precision)}"
    if status.choice:
        runs = f'{runs} (<a href="#{MODEL_ID}">why</a>)'
    return (
        f"<header><h1>image-consumer {escape(status.version)}</h1>"
        f"<p>{escape(status.instance)} · up for {_span(status.uptime_s)} · "
        f"{_clock(status.at)} UTC, renewed every {REFRESH_S} s</p></header>"
        f'<p class="dim">{runs} · group {escape(status.group)} · {escape(status.delivery)}</p>'
    )


def _state(status: Status) -> str:
    if not status.alive:
        kind, text = "bad", "Stuck: it will end itself"
    elif status.ready:
        kind, text = "ok", "Ready"
    elif status.phase == "running":
        kind, text = "warn", "Alive, not ready"
    else:
        kind, text = "warn", status.phase.capitalize()
    reasons = [f"{escape(one.text)} <span>(for {_span(one.for_s)})</span>" for one in status.reasons]
    if status.stream and (age := (status.at - status.stream.at) / 1000) > STALE_S and status.phase == "running":
        reasons.append(f"The stream has not reported for {_span(age)}: what follows is as old")
    listed = "<ul>" + "".join(f"<li>{one}</li>" for one in reasons) + "</ul>" if reasons else ""
    return f'<div class="state {kind}">{text}{listed}</div>'


def _tiles(stream: StreamStatus, status: Status) -> str:
    at = status.at
    lags = [one.lag for one in stream.partitions if one.lag is not None]
    held = [(one.held_up.since, f", partition {one.partition}") for one in stream.partitions if one.held_up]
    oldest, where = min(held, default=(at, ""))
    failed = sum(stream.failures_last_minute.values())
    results = stream.transactions
    tiles = [
        ("events/s, last minute", f"{stream.events_last_minute / max(1.0, min(60.0, status.uptime_s)):,.1f}", ""),
        ("failures, last minute", f"{failed:,}", "warn" if 2 * failed > stream.events_last_minute else ""),
        ("lag, all partitions", f"{sum(lags):,}" if lags else "–", ""),
        ("in flight", f"{stream.in_flight:,}", ""),
        (f"longest held up{where}", _span((at - oldest) / 1000), "warn" if at - oldest > 1000 * HELD_LONG_S else ""),
        (
            "published · aborted · unknown",
            f"{results.get('committed', 0):,} · {results.get('aborted', 0):,} · {results.get('unknown', 0):,}",
            "",
        ),
        ("held in memory", _size(stream.held_bytes), ""),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile {kind}"><b>{value}</b><span>{name}</span></div>' for name, value, kind in tiles)
        + "</div>"
    )


def _partitions(partitions: Sequence[PartitionStatus], at: int) -> str:
    heads = (
        "partition",
        "lag",
        "committed",
        "queued",
        "in flight",
        "finished",
        "held up by offset",
        "for",
        "event",
        "URL",
    )
    rows = [
        (
            _number(one.partition),
            _number(one.lag),
            "–" if one.committed is None else str(one.committed),
            _number(one.queued),
            _number(one.in_flight),
            _number(one.finished),
            *(SILENT if one.silent else _held_up(one.held_up, at)),
        )
        for one in partitions
    ]
    return _section("Partitions", heads, rows, "None is assigned to this instance.", numbers=range(6))


SILENT = ('<span class="mark warn">nothing comes of it</span>', "", "", "")
"""What stands there for a partition that does not begin."""


def _held_up(held: HeldUp | None, at: int) -> tuple[str, str, str, str]:
    if held is None:
        return "", "", "", ""
    seconds = (at - held.since) / 1000
    kind = "mark warn" if seconds > HELD_LONG_S else ""
    return (
        f'<span class="t">{held.offset}, {escape(held.stand)}</span>',
        f'<span class="t {kind}">{_span(seconds)}</span>',
        _fixed(held.event_id),
        _fixed(held.url),
    )


def _codes(stream: StreamStatus) -> str:
    heads = ("code", "last minute", "since the start")
    rows = [
        (f"<code>{escape(code)}</code>", _number(stream.failures_last_minute.get(code, 0)), _number(count))
        for code, count in sorted(stream.failures.items(), key=lambda one: -one[1])
    ]
    return _section("Failures by code", heads, rows, "None.")


def _last_failures(failures: Iterable[FailedEvent], at: int) -> str:
    heads = ("when", "code", "where", "event", "message", "URL", "attempts")
    rows = [
        (
            f'<span class="t">{_clock(one.at, at)} <span class="dim">· {_span((at - one.at) / 1000)} ago</span></span>',
            f"<code>{escape(one.code)}</code>",
            '<span class="t">HTTP</span>' if one.over_http else f'<span class="t">{one.partition}-{one.offset}</span>',
            _fixed(one.event_id),
            escape(one.message),
            _fixed(one.url),
            _number(one.attempts),
        )
        for one in failures
    ]
    return _section("Last failures", heads, rows, "None.")


def _choice(choice: ModelChoice, at: int) -> str:
    """What the model can be run with here; a candidate that failed to agree or to run is marked."""
    heads = ("backend", "precision", "images/s", "labels equal", "largest difference", "verdict", "why")
    marks = {"chosen": "mark ok", "refused": "mark warn"}
    rows = [
        (
            f'<span class="t">{escape(one.backend)}</span>',
            f'<span class="t">{escape(one.precision)}</span>',
            "–" if one.images_per_s is None else told_speed(one.images_per_s),
            "–" if one.labels is None else f"{one.labels_equal} of {one.labels}",
            "–" if one.largest_difference is None else f"{one.largest_difference:.4f}",
            f'<span class="t {marks.get(one.verdict, "")}">{one.verdict}</span>',
            escape(one.reason),
        )
        for one in choice.candidates
    ]
    when = f"kept from an earlier start, {_clock(choice.at, at)} UTC" if choice.kept else "measured at this start"
    speeds = " · ".join(f"{size}: {told_speed(speed)}" for size, speed in choice.images_per_s.items())
    told = (
        f'<p class="note">Held against TensorFlow in float32 on probe images, timed in batches of '
        f"{choice.candidates[0].timed_with}: {when}.<br>The chosen one gets batches of up to {choice.max_batch}"
        f"{f'; its images/s by batch size are {speeds}' if speeds else ', as BATCH_MAX_SIZE says'}.</p>"
    )
    return f'<div id="{MODEL_ID}">{_section("How the model is run", heads, rows, "", numbers=range(2, 5))}</div>{told}'


def _facts(status: Status) -> str:
    topics = {f"{use} topic": topic for use, topic in status.topics.items()}
    cards = "".join(
        '<div class="card"><table><tbody>'
        + "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
        + "</tbody></table></div>"
        for facts in (topics, status.settings)
    )
    return f'<h2>Topics and limits</h2><div class="facts">{cards}</div>'


# ── the pieces ───────────────────────────────────────────────────────────────────────────────────


def _section(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], nothing: str, *, numbers: Collection[int] = ()
) -> str:
    """A table; the cells are HTML already. The columns ``numbers`` hold numbers."""
    if not rows:
        return f'<h2>{title}</h2><div class="card none">{nothing}</div>'

    def kind(index: int) -> str:
        return ' class="n"' if index in numbers else ""

    head = "".join(f"<th{kind(index)}>{name}</th>" for index, name in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f'<td{kind(index)} data-of="{heads[index]}">{cell}</td>' for index, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<h2>{title}</h2><div class="card"><table class="rows"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _fixed(text: str | None) -> str:
    """What a stranger wrote, in letters that tell l from 1."""
    return f'<span class="u">{escape(text)}</span>' if text else ""


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _clock(at: int, now: int | None = None) -> str:
    """A point in time, in UTC; without its date if that is the same as now's."""
    told = f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    return told if now is None or told[:10] != _clock(now)[:10] else told[11:]


def _span(seconds: float) -> str:
    """A time span as one reads it: 4 s, 3 min, 2 h 5 min, 4 d 3 h."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"
