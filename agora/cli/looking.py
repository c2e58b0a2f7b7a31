"""`agora replay|verify|report|status|watch|runs|data`: looks, never trades."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agora.cli.shared import JSON_FLAG, RUN_ARGUMENT, home_path, say, show, use_cache, warn

Run = Annotated[str, RUN_ARGUMENT]
Json = Annotated[bool, JSON_FLAG]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]


def register(app: typer.Typer, runs_app: typer.Typer, data_app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: agora replay latest")(replay)
    app.command(epilog="Example: agora verify latest")(verify)
    app.command(epilog="Example: agora report latest")(report)
    app.command(epilog="Example: agora status --json")(status)
    app.command(epilog="Example: agora watch")(watch)
    runs_app.command("list", epilog="Example: agora runs list")(runs_list)
    runs_app.command("clean", epilog="Example: agora runs clean --older-than 30 --dry-run")(runs_clean)
    runs_app.command("archive", epilog="Example: agora runs archive latest --out run.tar.gz")(runs_archive)
    runs_app.command("restore", epilog="Example: agora runs restore run.tar.gz")(runs_restore)
    data_app.command("import", epilog="Example: agora data import candles.feather funding.feather --out btc.parquet")(
        data_import
    )
    data_app.command("show", epilog="Example: agora data show btc.parquet")(data_show)


def _folder(name: str) -> Path:
    from agora.session.folder import Home

    return Home(home_path()).run_folder(name)


def replay(name: Run = "latest", json: Json = False) -> None:
    """Run a recorded run again from its journal; exit 0 identical, 1 with the first divergence."""
    use_cache()
    from agora import audit

    facts = audit.replay_run(_folder(name))
    show(facts, is_json=json, text=lambda: _replay_text(facts))
    raise typer.Exit(0 if facts["identical"] else 1)


def _replay_text(facts: dict[str, Any]) -> str:
    if facts["identical"]:
        counts = f"{facts['records']} records, {facts['decisions_compared']} decisions"
        return f"identical: {counts}, state {facts['state_hash'][:16]}"
    return "DIVERGED " + "\n  ".join(facts["differences"])


def verify(name: Run = "latest", json: Json = False) -> None:
    """Check the journal's chain and the report's identities; exit 0 good, 1 bad (with the place), 2 unreadable."""
    use_cache()
    from agora import audit
    from agora.domain.errors import AgoraError

    try:
        facts = audit.verify_run(_folder(name))
    except (AgoraError, OSError) as fault:
        warn(f"agora: cannot read run {name}: {fault}")
        raise typer.Exit(2) from None
    show(facts, is_json=json, text=lambda: _verify_text(facts))
    raise typer.Exit(0 if facts["good"] else 1)


def _verify_text(facts: dict[str, Any]) -> str:
    if facts["good"]:
        return f"good: {facts['records']} records, chain head {facts['head_hash'][:16]}, all identities hold"
    return "BAD " + "\n  ".join(facts["faults"])


def report(name: Run = "latest", json: Json = False) -> None:
    """Rebuild final_report, metrics and report.html of a run from its journal."""
    use_cache()
    from agora import audit
    from agora.cli.market import market_text
    from agora.cli.running import outcome_text

    folder = _folder(name)
    facts = audit.report_run(folder)
    text = market_text if facts["venue"] == "market" else outcome_text
    show(facts, is_json=json, text=lambda: f"{text(facts)}\nreport: {folder / 'report.html'}")


def status(name: Run = "latest", json: Json = False) -> None:
    """How a run is doing: live figures, or how it ended."""
    from agora.cli.glance import glance, glance_text

    facts = glance(_folder(name))
    show(facts, is_json=json, text=lambda: glance_text(facts))


def watch(name: Run = "latest") -> None:
    """Follow a live run's metrics until it ends."""
    from agora.cli.glance import follow

    for line in follow(_folder(name)):
        say(line)


def runs_list(json: Json = False) -> None:
    """All runs, newest last."""
    from agora.cli.housekeeping import list_runs

    rows = list_runs(home_path())
    show(
        rows,
        is_json=json,
        text=lambda: "\n".join(f"{r['run']}  {r['state']}  {r['size_mb']} MB" for r in rows) or "no runs yet",
    )


def runs_clean(
    older_than: Annotated[float, typer.Option("--older-than", help="Days since the run ended.")],
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Delete run folders older than so many days; never one that is running."""
    from agora.cli.housekeeping import clean_runs

    names = clean_runs(home_path(), older_than_days=older_than, is_dry=dry_run)
    word = "would delete" if dry_run else "deleted"
    show(
        {"runs": names, "dry_run": dry_run},
        is_json=json,
        text=lambda: "\n".join(f"{word} {n}" for n in names) or "nothing to delete",
    )


def runs_archive(
    name: Run = "latest",
    out: Annotated[Path | None, typer.Option(help="The archive; RUN.tar.gz in the present folder by default.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Pack a run into one compressed file with a manifest of hashes."""
    from agora.cli.housekeeping import archive_run

    folder = _folder(name)
    facts = archive_run(folder, out or Path(f"{folder.name}.tar.gz"), is_dry=dry_run)
    show(
        facts,
        is_json=json,
        text=lambda: f"{facts['files']} files, {facts['bytes']} bytes: {facts['archive']}",
    )


def runs_restore(
    archive: Annotated[Path, typer.Argument(help="An archive made by `agora runs archive`.")],
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Unpack an archived run into AGORA_HOME/runs; every file is checked against the manifest."""
    from agora.cli.housekeeping import restore_run

    facts = restore_run(home_path(), archive, is_dry=dry_run)
    show(facts, is_json=json, text=lambda: f"{facts['files']} files: {facts['run']}")


def data_import(
    files: Annotated[list[Path], typer.Argument(help="Original files of one symbol.")],
    out: Annotated[Path, typer.Option(help="The recording to write (.parquet).")],
    symbol: Annotated[str | None, typer.Option(help="The instrument, where the files do not say.")] = None,
    json: Json = False,
) -> None:
    """Make one recording of original files; names everything that is malformed."""
    from agora.cli.recordings import import_facts, import_text
    from agora.venues.importers import import_files

    warn(f"importing {len(files)} file(s) …")
    facts = import_facts(import_files(files, symbol=symbol, out=out))
    show(facts, is_json=json, text=lambda: import_text(facts))


def data_show(path: Annotated[Path, typer.Argument(help="A recording.")], json: Json = False) -> None:
    """What a recording holds: instruments, span, counts, faults by reason."""
    from agora.cli.recordings import recording_facts, recording_text

    facts = recording_facts(path)
    show(facts, is_json=json, text=lambda: recording_text(facts))
