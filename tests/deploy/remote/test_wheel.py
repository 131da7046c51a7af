import subprocess
import sys
import zipfile

from deploy.remote.wheel import pack_wheel


def test_equal_files_give_equal_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert pack_wheel(tmp_path / "a").read_bytes() == pack_wheel(tmp_path / "b").read_bytes()


def test_wheel_holds_the_device_package_and_nothing_of_the_toolchain(tmp_path):
    with zipfile.ZipFile(pack_wheel(tmp_path)) as wheel:
        names = wheel.namelist()
    assert {"deploy/cli.py", "deploy/remote/guard.py", "targets/x86-cpu.toml"} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"deploy", "targets"}


def test_pip_installs_it(tmp_path):
    wheel = pack_wheel(tmp_path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    # pip holds every file to the hash in RECORD only when it verifies; that the record is whole is asked below.
    subprocess.run([*pip, "--target", tmp_path / "there", wheel], check=True)
    said = subprocess.run(
        [sys.executable, "-c", "import deploy.cli; print(deploy.__file__)"],
        cwd=tmp_path / "there", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == str(tmp_path / "there/deploy/__init__.py")
    assert (tmp_path / "there/bin/thinwave-device").is_file()


def test_record_names_every_file_with_its_hash(tmp_path):
    import base64
    import hashlib

    with zipfile.ZipFile(pack_wheel(tmp_path)) as wheel:
        record = next(name for name in wheel.namelist() if name.endswith("RECORD"))
        rows = dict(line.split(",", 1) for line in wheel.read(record).decode().splitlines())
        assert set(rows) == set(wheel.namelist())
        content = wheel.read("deploy/cli.py")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    assert rows["deploy/cli.py"] == f"sha256={digest},{len(content)}"
