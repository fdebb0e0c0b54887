"""The tags: built from the committed stages, the same in every clone, and never moved silently."""

import itertools
import shutil

from classroom.course import SERVER, Stage, stages
from classroom.play import started
from classroom.session import sessions_of
from clones import commit, copy, run

NAMES = [stage.name for stage in stages()]
DOCS = ["index.html", "pictures", "replay"]
BESIDE = [".gitignore", "LICENSE", *(f"docs/{name}" for name in DOCS), "requirements.txt"]
BESIDE += ["scripts", "tests"]


def names_of(folder):
    return run(
        folder, "git", "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/tags"
    )


def test_setup_builds_them(repository):
    assert run(repository, "./scripts/setup") == f"tag: built {' '.join(NAMES)}\n"
    assert run(repository, "./scripts/setup") == ""
    assert run(repository, "./scripts/tag") == ""
    assert run(repository, "./scripts/tag", "--check") == ""


def test_they_are_a_table_of_contents_and_a_course(tagged):
    contents = run(tagged, "git", "tag", "-n", "--list", "v*").splitlines()
    assert [line.split(maxsplit=1) for line in contents] == [[s.name, s.title] for s in stages()]
    course = run(tagged, "git", "log", "--reverse", "--format=%s|%b", NAMES[-1])
    lines = [line for line in course.splitlines() if line]
    assert lines == [f"{s.name}: {s.title}|{s.summary}" for s in stages()]


def test_a_tag_is_the_folder_byte_for_byte(tagged):
    for name in NAMES:
        for file in (SERVER, "README.md"):
            folder = run(tagged, "git", "rev-parse", f"HEAD:stages/{name}/{file}")
            assert run(tagged, "git", "rev-parse", f"{name}:{file}") == folder
        for entry in BESIDE:
            main = run(tagged, "git", "rev-parse", f"HEAD:{entry}")
            assert run(tagged, "git", "rev-parse", f"{name}:{entry}") == main
        tree = run(tagged, "git", "ls-tree", "--name-only", name).split()
        beside = {entry.partition("/")[0] for entry in BESIDE}
        assert sorted(tree) == sorted([*beside, SERVER, "README.md"])
        assert run(tagged, "git", "ls-tree", "--name-only", f"{name}:docs").split() == DOCS


def test_neighbours_differ_in_two_files(tagged):
    for one, next_one in itertools.pairwise(NAMES):
        changed = run(tagged, "git", "diff", "--name-only", one, next_one).split()
        assert changed == ["README.md", SERVER]


def test_every_clone_has_the_same_names(tmp_path, repository, monkeypatch):
    """Another history, another author, another time zone and language: the same tags."""
    other = copy(tmp_path / "other")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2030-01-01T00:00:00+0800")
    run(other, "git", "init", "--quiet", "--initial-branch", "trunk")
    run(other, "git", "config", "i18n.commitEncoding", "ISO-8859-1")
    commit(other, name="Teacher")
    for folder in (repository, other):
        run(folder, "./scripts/tag")
    assert names_of(repository) == names_of(other)
    assert names_of(repository).count("\n") == len(NAMES)


def test_a_checked_out_tag_runs_and_plays_its_lesson(tagged, nc):
    for name in NAMES:
        run(tagged, "git", "checkout", "--quiet", name)
        for steps in sessions_of(tagged / "README.md"):
            with started(Stage(tagged), steps, nc) as player:
                player.run(steps)


def test_the_commands_know_the_one_stage_of_a_tag(tagged):
    run(tagged, "git", "checkout", "--quiet", "v0.3")
    passed = run(tagged, "./scripts/test", "-v", "-n0", "tests/test_lessons.py")
    assert "[README.md:" in passed
    assert "[v0.3]" in passed
    assert "[v0.2]" not in passed
    assert run(tagged, "git", "status", "--porcelain") == ""
    said = run(tagged, "./scripts/demo", "v0.2", status=2)
    assert said.endswith("error: there is no stage v0.2 here; there is v0.3\n")
    said = run(tagged, "./scripts/tag", status=1)
    assert (
        said == "tag: this commit has no stages/; you are at a tag, 'git switch main' leads back\n"
    )


def test_a_tag_that_points_elsewhere_is_left_alone(repository):
    run(repository, "git", "tag", "v0.2")
    own = run(repository, "git", "rev-parse", "v0.2")
    said = (
        "tag: not what this commit gives: v0.2; "
        "./scripts/tag --force moves them and loses where they point now\n"
    )
    others = " ".join(name for name in NAMES if name != "v0.2")
    assert run(repository, "./scripts/tag", status=1) == f"tag: built {others}\n{said}"
    assert run(repository, "./scripts/tag", "--check", status=1) == said
    assert run(repository, "git", "rev-parse", "v0.2") == own
    assert run(repository, "./scripts/tag", "--force") == "tag: built v0.2\n"
    assert run(repository, "./scripts/tag", "--check") == ""


def test_check_tells_missing_tags_and_builds_none(repository):
    said = run(repository, "./scripts/tag", "--check", status=1)
    assert said == f"tag: missing: {' '.join(NAMES)}; ./scripts/tag builds them\n"
    assert names_of(repository) == ""


def test_a_changed_stage_moves_its_tag_and_those_after_it(tagged):
    with (tagged / "stages" / "v0.3" / SERVER).open("a") as file:
        file.write("# changed\n")
    not_committed = (
        "tag: stages/ has changes that are not committed; the tags contain only what is committed\n"
    )
    assert run(tagged, "./scripts/tag", "--check") == not_committed
    commit(tagged)
    said = run(tagged, "./scripts/tag", "--check", status=1)
    assert said.startswith(f"tag: not what this commit gives: {' '.join(NAMES[2:])}; ")


def test_no_branch_no_index_and_no_file_is_touched(repository):
    (repository / "LICENSE").write_text("staged")
    run(repository, "git", "add", "LICENSE")
    (repository / "README.md").write_text("not staged")
    before = [
        run(repository, "git", *words.split()) for words in ("status", "log", "diff --cached")
    ]
    run(repository, "./scripts/tag")
    after = [run(repository, "git", *words.split()) for words in ("status", "log", "diff --cached")]
    assert after == before


def test_it_works_in_a_shallow_clone_a_detached_head_and_from_another_folder(tagged, tmp_path):
    expected = names_of(tagged)
    commit_again = ["git", "commit", "--quiet", "--allow-empty", "--message", "more"]
    run(tagged, *commit_again)
    shallow = tmp_path / "shallow"
    run(tmp_path, "git", "clone", "-q", "--depth=1", "--no-tags", f"file://{tagged}", shallow)
    run(shallow, "git", "checkout", "--quiet", "--detach")
    run(tmp_path, shallow / "scripts" / "tag")
    assert names_of(shallow) == expected


def test_where_it_cannot_work_it_says_why(project, tmp_path):
    not_a_clone = "tag: this folder is no git clone; clone the repository\n"
    assert run(project, "./scripts/tag", status=1) == not_a_clone
    run(tmp_path, "git", "init", "--quiet")  # now it is inside another repository
    assert run(project, "./scripts/tag", status=1) == not_a_clone
    run(project, "git", "init", "--quiet")
    no_commit = "tag: there is no commit yet; commit the stages first\n"
    assert run(project, "./scripts/tag", status=1) == no_commit
    misuse = "tag: cannot read '--wrong'; see ./scripts/tag --help\n"
    assert run(project, "./scripts/tag", "--wrong", status=2) == misuse
    assert run(project, "./scripts/setup") == ""


def test_without_git_it_says_so(project, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname", "readlink"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert run(project, "./scripts/tag", status=1) == "tag: there is no git; install it\n"
