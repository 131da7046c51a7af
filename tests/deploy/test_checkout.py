import subprocess

import pytest

from deploy.checkout import CHECKOUT, commit_of

FIRST, SECOND = "1" * 40, "2" * 40


def test_commit_is_the_one_that_the_branch_points_to(tree, tmp_path):
    tree(tmp_path, {".git/HEAD": "ref: refs/heads/a/b\n", ".git/refs/heads/a/b": f"{FIRST}\n"})
    assert commit_of(tmp_path) == FIRST


def test_branch_that_git_packed_is_found(tree, tmp_path):
    packed = f"# pack-refs with: peeled\n{FIRST} refs/heads/other\n{SECOND} refs/heads/main\n^{FIRST}\n"
    tree(tmp_path, {".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": packed})
    assert commit_of(tmp_path) == SECOND


def test_checkout_without_a_branch_names_its_commit_itself(tree, tmp_path):
    assert commit_of(tree(tmp_path, {".git/HEAD": f"{FIRST}\n"})) == FIRST


def test_second_working_tree_has_its_own_head_and_the_branches_of_the_first(tree, tmp_path):
    tree(
        tmp_path,
        {
            "first/.git/refs/heads/side": FIRST,
            "first/.git/worktrees/w/HEAD": "ref: refs/heads/side",
            "first/.git/worktrees/w/commondir": "../..",
            "second/.git": "gitdir: ../first/.git/worktrees/w",
        },
    )
    assert commit_of(tmp_path / "second") == FIRST


@pytest.mark.parametrize(
    "files",
    [
        {},
        {".git/HEAD": "ref: refs/heads/main"},
        {".git/HEAD": "what"},
        {".git": "what"},
        {".git": "gitdir: nowhere"},
        {".git/HEAD": "ref: ../secret", "secret": FIRST},
        {".git/HEAD": "ref: refs/heads/main", ".git/refs/heads/main": "what"},
    ],
)
def test_what_is_no_checkout_has_no_commit(tree, tmp_path, files):
    assert commit_of(tree(tmp_path, files)) is None


def test_commit_of_this_checkout_is_the_one_that_git_tells():
    if not (CHECKOUT / ".git").exists():
        assert commit_of() is None
        return
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert commit_of() == said.stdout.strip()
