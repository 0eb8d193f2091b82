"""Watching: real files, every way an editor or a cluster replaces them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.control.watch import Watch, places


class Reader:
    """Reads the configuration whenever the watch calls, and lets a test wait for what it read."""

    def __init__(self, path: Path) -> None:
        self.path, self.calls, self.seen = path, 0, ""
        self._read = asyncio.Condition()

    async def __call__(self) -> None:
        async with self._read:
            self.calls += 1
            self.seen = self._content()
            self._read.notify_all()

    def _content(self) -> str:
        try:
            files = sorted(self.path.glob("*.yaml")) if self.path.is_dir() else [self.path]
            return "+".join(file.read_text() for file in files)
        except FileNotFoundError:
            return "gone"

    async def sees(self, content: str) -> None:
        async with asyncio.timeout(10), self._read:
            await self._read.wait_for(lambda: self.seen == content)

    async def called(self, times: int) -> None:
        async with asyncio.timeout(10), self._read:
            await self._read.wait_for(lambda: self.calls >= times)


def watch(path: Path, *steps: tuple[Callable[[], object], str]) -> None:
    """Plays the steps: each changes files and says what the reader must come to see because of it."""

    async def main() -> None:
        reader = Reader(path)
        # No rescan within the test: only events can pass it.
        watching = Watch([path], reader, quiet=0.01, rescan=3600)
        await watching.start()
        try:
            for act, content in steps:
                act()
                await reader.sees(content)
        finally:
            await watching.stop()

    asyncio.run(main())


def replace(path: Path, content: str) -> None:
    """What careful writers do: a new file, renamed over the old one."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(content)
    fresh.replace(path)


def swap(link: Path, target: str) -> None:
    """A new symbolic link, renamed over the old one."""
    fresh = link.with_name("..fresh")
    fresh.symlink_to(target)
    fresh.replace(link)


def test_a_write_in_place_is_noticed(tmp_path: Path) -> None:
    """Twice, because the second edit is the one a naive watch misses."""
    file = tmp_path / "routes.yaml"
    file.write_text("1")

    watch(file, (lambda: file.write_text("2"), "2"), (lambda: file.write_text("3"), "3"))


def test_every_atomic_replace_is_noticed(tmp_path: Path) -> None:
    """The inode changes each time; the third replace counts like the first."""
    file = tmp_path / "routes.yaml"
    file.write_text("1")

    watch(file, *((lambda n=n: replace(file, n), n) for n in "234"))


def test_an_editors_backup_and_rename_is_noticed(tmp_path: Path) -> None:
    """Vim moves the old file away and writes a new one under the old name."""
    file = tmp_path / "routes.yaml"
    file.write_text("1")

    def edit(content: str) -> None:
        file.rename(tmp_path / "routes.yaml~")
        file.write_text(content)

    watch(file, (lambda: edit("2"), "2"), (lambda: edit("3"), "3"))


def test_delete_and_recreate_are_both_noticed(tmp_path: Path) -> None:
    """A missing file is news too: the caller then refuses it and says so."""
    file = tmp_path / "routes.yaml"
    file.write_text("1")

    watch(
        file,
        (file.unlink, "gone"),
        (lambda: file.write_text("2"), "2"),
        (lambda: file.write_text("3"), "3"),
    )


def test_a_file_that_never_existed_is_noticed_when_its_directory_appears(tmp_path: Path) -> None:
    """Nothing stands at start; directory and file come one after the other."""
    file = tmp_path / "etc" / "gateway" / "routes.yaml"

    def create() -> None:
        file.parent.mkdir(parents=True)
        file.write_text("1")

    watch(file, (lambda: None, "gone"), (create, "1"), (lambda: replace(file, "2"), "2"))


def test_every_configmap_swap_is_noticed(tmp_path: Path) -> None:
    """Kubernetes renames a fresh `..data` link over the old one and removes the old directory."""
    mount = tmp_path / "mount"

    def publish(content: str) -> None:
        old = mount / (mount / "..data").readlink() if (mount / "..data").exists() else None
        (mount / f"..{content}").mkdir()
        (mount / f"..{content}" / "routes.yaml").write_text(content)
        swap(mount / "..data", f"..{content}")
        if old:
            shutil.rmtree(old)

    mount.mkdir()
    publish("1")
    (mount / "routes.yaml").symlink_to("..data/routes.yaml")

    watch(mount / "routes.yaml", *((lambda n=n: publish(n), n) for n in "234"))


def test_a_configmap_mounted_as_a_directory_is_noticed(tmp_path: Path) -> None:
    """The same swap, with the directory as the configuration."""
    for content in "12":
        (tmp_path / f"..{content}").mkdir()
        (tmp_path / f"..{content}" / "a.yaml").write_text(content)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    watch(
        tmp_path,
        (lambda: swap(tmp_path / "..data", "..2"), "2"),
        (lambda: (tmp_path / "..2" / "a.yaml").write_text("3"), "3"),
        (lambda: swap(tmp_path / "..data", "..1"), "1"),
    )


def test_a_link_above_the_file_is_followed(tmp_path: Path) -> None:
    """`current -> releases/1` is swapped although nothing beside the file changes."""
    for release in "12":
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "routes.yaml").write_text(release)
    (tmp_path / "current").symlink_to("releases/1")

    watch(
        tmp_path / "current" / "routes.yaml",
        (lambda: swap(tmp_path / "current", "releases/2"), "2"),
        (lambda: replace(tmp_path / "releases" / "2" / "routes.yaml", "3"), "3"),
    )


def test_files_of_a_directory_come_change_and_go(tmp_path: Path) -> None:
    """A directory of files is one configuration."""
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text("a")

    watch(
        tmp_path,
        (lambda: two.write_text("b"), "a+b"),
        (lambda: replace(two, "c"), "a+c"),
        (one.unlink, "c"),
    )


def test_a_directory_replaced_whole_is_noticed(tmp_path: Path) -> None:
    """Removed and made anew, then moved aside for another: each time it is looked up again."""
    directory = tmp_path / "conf"

    def fill(path: Path, content: str) -> None:
        path.mkdir()
        (path / "a.yaml").write_text(content)

    def recreate() -> None:
        shutil.rmtree(directory)
        fill(directory, "2")

    def exchange() -> None:
        fill(tmp_path / "next", "3")
        directory.rename(tmp_path / "old")
        (tmp_path / "next").rename(directory)

    fill(directory, "1")
    watch(
        directory,
        (recreate, "2"),
        (exchange, "3"),
        (lambda: replace(directory / "a.yaml", "4"), "4"),
    )


def test_without_events_the_watch_still_looks(tmp_path: Path) -> None:
    """Network file systems report nothing: `rescan` bounds how late a change is seen."""

    async def main() -> None:
        reader = Reader(tmp_path / "routes.yaml")
        watching = Watch([reader.path], reader, rescan=0.05)
        await watching.start()
        await reader.called(3)
        await watching.stop()
        calls = reader.calls
        reader.path.write_text("after the end")
        await asyncio.sleep(0)
        assert calls == reader.calls

    asyncio.run(main())


def test_a_failing_look_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What `changed` raises is logged, and the next change is noticed."""
    file = tmp_path / "routes.yaml"
    file.write_text("1")

    async def main() -> None:
        reader = Reader(file)

        async def fail_then_read() -> None:
            await reader()
            if reader.calls == 1:
                raise RuntimeError("no luck")

        watching = Watch([file], fail_then_read, quiet=0.01, rescan=3600)
        await watching.start()
        await reader.called(1)
        file.write_text("2")
        await reader.sees("2")
        await watching.stop()

    asyncio.run(main())
    assert [str(r.exc_info[1]) for r in caplog.records if r.exc_info] == ["no luck"]


def test_a_link_loop_is_watched_where_it_stands(tmp_path: Path) -> None:
    """Two links to each other are a broken configuration, not an endless walk."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert {tmp_path.resolve()} == places(tmp_path / "a")


def test_relative_links_turn_where_the_kernel_does(tmp_path: Path) -> None:
    """`..` in a link is taken after the links before it, as the kernel does."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "routes.yaml").write_text("1")
    (tmp_path / "short").symlink_to("real/deep")
    (tmp_path / "routes.yaml").symlink_to("short/../routes.yaml")

    assert {tmp_path.resolve(), tmp_path.resolve() / "real"} == places(tmp_path / "routes.yaml")


def test_a_growing_log_beside_the_configuration_wakes_nobody(tmp_path: Path) -> None:
    """What comes after it does; also a file whose name is not like a configuration's."""
    given, log = tmp_path / "routes.conf", tmp_path / "access.log"
    given.write_text("1")
    log.write_text("")

    async def main() -> None:
        reader = Reader(given)
        watching = Watch([given], reader, quiet=0.01, patience=0.02, rescan=3600)
        await watching.start()
        try:
            await reader.sees("1")
            for line in range(50):
                with log.open("a") as file:
                    file.write(f"{line}\n")
                await asyncio.sleep(0.001)
            calls = reader.calls
            replace(given, "2")
            await reader.sees("2")
            assert calls == 1
        finally:
            await watching.stop()

    asyncio.run(main())


def test_a_link_to_a_file_of_any_name_is_followed(tmp_path: Path) -> None:
    """A directory's *.yaml may be a link: what it leads to counts."""
    folder = tmp_path / "conf"
    folder.mkdir()
    (tmp_path / "shop.txt").write_text("1")
    (folder / "shop.yaml").symlink_to("../shop.txt")

    watch(folder, (lambda: (tmp_path / "shop.txt").write_text("2"), "2"))


def test_files_of_a_kind_that_counts_wake_without_being_named(tmp_path: Path) -> None:
    """As credentials do: which of a folder's files are read is the reader's affair."""
    folder = tmp_path / "shop"
    folder.mkdir()

    async def main() -> None:
        reader = Reader(folder)
        watching = Watch([folder], reader, quiet=0.01, rescan=3600, suffixes={".key"})
        await watching.start()
        try:
            await reader.called(1)
            (folder / "tls.key").write_text("1")
            await reader.called(2)
        finally:
            await watching.stop()

    asyncio.run(main())
