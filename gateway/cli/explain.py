"""`gateway explain`: what would become of a request, and why, without sending anything.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from gateway.cli._config import config_option
from gateway.cli._help import closing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli._page import Page
    from gateway.explain.answer import Answer
    from gateway.explain.forwarding import Plan, Target
    from gateway.explain.offline import Canonical, Explanation
    from gateway.routing.explain import Choice
    from gateway.security import Verdict

SHOWN = 12
"""Routes of a virtual host that are listed; of more, the nearest."""


@click.command(
    "explain",
    short_help="What would become of a request, step by step.",
    epilog=closing(
        "gateway explain GET http://reviews/reviews/0 -H 'user-agent: Chrome'",
        "gateway explain DELETE /details/0 -H 'host: localhost' -c routes.yaml",
        codes="0 served, 1 the gateway turns it away, 2 usage, 3 the configuration cannot be used",
    ),
)
@click.argument("method")
@click.argument("url")
@click.option("-H", "--header", "lines", multiple=True, metavar="'NAME: VALUE'", help="Request header.")
@click.option("--principal", default="", metavar="ID", help="SPIFFE identity of the client's certificate.")
@click.option("--jwt", "token", default="", metavar="TOKEN", help="Sent as authorization: Bearer TOKEN.")
@click.option("--sni", default="", metavar="NAME", help="Server name of the TLS handshake.")
@click.option("--source-ip", default="127.0.0.1", show_default=True, metavar="IP", help="The direct peer.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(  # noqa: PLR0913 - the options of interface.md
    *,
    method: str,
    url: str,
    lines: tuple[str, ...],
    principal: str,
    token: str,
    sni: str,
    source_ip: str,
    paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Prints what would become of a request, step by step; nothing is sent.

    URL is absolute, or a path together with -H 'host: NAME'. The canonical path, the virtual host, every
    route and what it lost on, the policies' verdicts, destinations with their chances, timeouts, retries, and
    the head that a backend would get. Credentials are not printed.
    """
    from gateway.config import render, split_paths  # noqa: PLC0415 - --help need not load them
    from gateway.explain.asked import BadQuestion, Question, header  # noqa: PLC0415 - as above
    from gateway.explain.load import offline  # noqa: PLC0415 - as above
    from gateway.explain.offline import explain  # noqa: PLC0415 - as above
    from gateway.explain.plain import explanation_json  # noqa: PLC0415 - as above

    chosen = paths or tuple(split_paths(os.environ.get("GATEWAY_CONFIG", ""))) or ("routes.yaml",)
    loaded, snapshot = offline(chosen)
    if snapshot is None:
        fatal = [finding for finding in loaded.findings if finding.fatal]
        click.echo(render(fatal, loaded.sources, color=sys.stderr.isatty()), err=True)
        sys.exit(3)
    try:
        told = explain(
            snapshot,
            Question(
                method=method,
                url=url,
                headers=tuple(header(line) for line in lines),
                principal=principal,
                token=token,
                sni=sni,
                source_ip=source_ip,
            ),
        )
    except BadQuestion as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(explanation_json(told), indent=2, ensure_ascii=False))
    else:
        from gateway.cli._page import Page  # noqa: PLC0415 - as above

        _show(told, Page())
    sys.exit(1 if told.refused else 0)


def _show(told: Explanation, page: Page) -> None:
    from gateway.cli._page import sentence  # noqa: PLC0415 - loaded by now

    if told.request is not None:
        _request(told.request, page)
    page.item("listener", told.listener)
    if told.choice is not None:
        _choice(told.choice, page)
    _policies("policies", told.verdicts, page)
    for note in told.notes:
        page.text("note", sentence(note))
    if told.plan is not None:
        _plan(told.plan, page)
    for target in told.targets:
        _target(target, page)
    if told.answer is not None:
        _answer(told.answer, told, page)
    if told.answer is None:
        _heads(told.targets, page)


def _request(request: Canonical, page: Page) -> None:
    query = f"?{request.query}" if request.query else ""
    written = "" if request.written == request.path else f"  (asked for as {request.written})"
    page.item("request", f"{request.method} {request.path}{query}{written}")
    page.item("", f"{request.scheme} to {request.authority}, in on port {request.port}")
    via = "" if request.peer == request.client else f", through {request.peer}"
    identity = f", identity {request.principal}" if request.principal else ""
    token = f", token of {request.token}" if request.token else ""
    page.item("client", f"{request.client}{via}{identity}{token}")
    if request.dropped:
        page.item("dropped", ", ".join(request.dropped))


def _choice(choice: Choice, page: Page) -> None:
    from gateway.cli._page import BAD, FAINT, GOOD  # noqa: PLC0415 - loaded by now

    host = choice.host
    if host.name is None:
        page.item("virtual host", (f"none: {host.because}", BAD))
        if host.also:
            page.item("", f"known and similar: {', '.join(host.also)}")
        return
    page.item("virtual host", f"{host.name}  ({host.domain}: {host.because})")
    all_of_them = len(choice.tried) <= SHOWN
    taken = [item for item in choice.tried if item.outcome == "taken"]
    shown = choice.tried if all_of_them else (*taken, *choice.nearest)
    width = max((len(item.name or item.source) for item in shown), default=0)
    for number, item in enumerate(shown):
        style = {"taken": GOOD, "lost": BAD}.get(item.outcome, FAINT)
        label = "" if number else "routes"
        name = f"{item.number:>3}  {item.name or item.source:<{width}}  "
        because = item.because if item.outcome != "not reached" or item.fits else ""
        page.item(label, name, (f"{item.outcome:<11}  ", style), because)
    if not all_of_them:
        page.item("", (f"{len(choice.tried)} routes in all; these missed by least", FAINT))
    for item in taken:
        page.item("written in", item.source)
    if not taken:
        page.item("", (f"none of {len(choice.tried)} routes takes it", BAD))


def _policies(label: str, verdicts: Sequence[Verdict], page: Page, indent: str = "") -> None:
    """One line a document, and why beneath it."""
    from gateway.cli._page import FAINT  # noqa: PLC0415 - loaded by now

    for number, verdict in enumerate(verdicts):
        says = "takes it" if verdict.matched else "does not take it"
        if verdict.kind == "PeerAuthentication":
            says = "satisfied" if verdict.matched else "not satisfied"
        dry = " (dry run)" if verdict.dry_run else ""
        both = ", for the gateway and the destination" if verdict.place == "both" else ""
        head = f"{indent}{verdict.action:<6} {verdict.policy}{dry}{both}: {says}"
        page.item("" if number else label, head)
        for reason in verdict.reasons:
            page.item("", (f"{indent}       {reason}", FAINT))


def _plan(plan: Plan, page: Page) -> None:
    from gateway.cli._page import percent, seconds, short_cluster  # noqa: PLC0415 - loaded by now

    page.item("timeout", "none" if plan.timeout is None else f"{seconds(plan.timeout)} for everything")
    retries = plan.retries
    if retries is None:
        page.item("retries", "none")
    else:
        words = [word for word in retries.on if word != "retriable-status-codes"]
        on = ", ".join([*words, *map(str, retries.statuses)]) or "nothing"
        page.item("retries", f"up to {retries.most}, on {on}")
        waits = ", ".join(seconds(wait) for wait in retries.waits)
        again = "another endpoint if there is one" if retries.elsewhere else "the same endpoint"
        page.item("", f"after at most {waits}; {again}")
        if retries.per_try_timeout is not None:
            page.item("", f"each try at most {seconds(retries.per_try_timeout)}")
    if plan.faults is not None:
        faults = plan.faults
        if faults.delay_percent:
            page.item("fault", f"{percent(faults.delay_percent)} wait {seconds(faults.delay)}")
        if faults.abort:
            page.item("fault", f"{percent(faults.abort_percent)} get {faults.abort}")
    page.items("mirror", (f"{percent(share)} to {short_cluster(name)}" for name, share in plan.mirrors))
    if plan.rewrite:
        page.item("rewritten", plan.rewrite)
    if plan.hash_key:
        page.item("hash key", plan.hash_key)
    if plan.cors:
        page.item("cors", "responses are marked for allowed origins")


def _target(target: Target, page: Page) -> None:
    from gateway.cli._page import BAD, percent  # noqa: PLC0415 - loaded by now

    page.item("destination", f"{percent(target.percent):>6}  {target.cluster}")
    if not target.known:
        page.item("", ("        nobody knows this cluster: 503 NC", BAD))
    elif target.empty:
        page.item("", ("        it has no endpoint: 503 UH", BAD))
    else:
        places = ", ".join(target.endpoints)
        page.item("", f"        {target.policy} of {places} ({target.resolution})")
    if target.sticky:
        page.item("", f"        the key leads to {target.sticky}")
    if target.refused is not None:
        page.item("", ("        refused: ", BAD), f"{target.refused.status} {target.refused.details}")
    _policies("", target.verdicts, page, indent="        ")
    if target.request_headers:
        page.item("", f"        request headers {target.request_headers}")
    if target.response_headers:
        page.item("", f"        response headers {target.response_headers}")


def _answer(answer: Answer, told: Explanation, page: Page) -> None:
    from gateway.cli._page import BAD, GOOD, sentence  # noqa: PLC0415 - loaded by now

    style = BAD if answer.refusal else GOOD
    page.item(
        "answer", (f"{answer.status}", style), f"  flag {answer.flag}  {answer.details}  (by {answer.by})"
    )
    page.items("", answer.headers)
    if answer.body:
        page.item("", answer.body)
    if answer.refusal:
        meaning = told.diagnosis
        page.text("cause", sentence(meaning.cause))
        page.text("what to do", sentence(meaning.remedy))


def _heads(targets: tuple[Target, ...], page: Page) -> None:
    """Heads, once each: destinations often get the same."""
    told: dict[tuple[str, ...], list[str]] = {}
    for target in targets:
        if target.known and not target.empty:
            told.setdefault(target.head, []).append(target.cluster)
    for head, clusters in told.items():
        if len(told) > 1:
            page.item("sends", f"to {', '.join(clusters)}:")
        page.items("sends" if len(told) == 1 else "", head)
