import pytest

from deploy.errors import DeviceError
from deploy.remote.address import parse_device

# In the home of the user.
FOLDER = ".cache/thinwave"


@pytest.mark.parametrize(
    ("address", "login", "scp_login", "port", "folder"),
    [
        ("ssh://jetson", "jetson", "jetson", None, FOLDER),
        ("ssh://Rack_Alias", "Rack_Alias", "Rack_Alias", None, FOLDER),
        ("ssh://me@10.0.0.7:2222/data/thinwave", "me@10.0.0.7", "me@10.0.0.7", 2222, "/data/thinwave/thinwave"),
        ("ssh://me@[fe80::1]:22/", "me@fe80::1", "me@[fe80::1]", 22, FOLDER),
    ],
)
def test_address_is_read(address, login, scp_login, port, folder):
    device = parse_device(address)
    assert (device.login, device.scp_login, device.port, device.folder) == (login, scp_login, port, folder)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("jetson", "is no address of a device; expected ssh://"),
        ("http://jetson", "is no address of a device"),
        ("ssh://", "is no address of a device"),
        ("ssh://jetson:99999", "Port out of range"),
        ("ssh://jetson:ssh", "is no address of a device"),
        ("ssh://jetson:0", "has no port that can be connected to"),
        ("ssh://-oProxyCommand=id", '"-oProxyCommand=id" is no name of a user or host'),
        ("ssh://-l@jetson", '"-l" is no name of a user or host'),
        ("ssh://je tson", '"je tson" is no name of a user or host'),
        ("ssh://jetson/a b", 'the folder "/a b" may hold letters'),
        ("ssh://jetson/$(id)", "may hold letters"),
        ("ssh://jetson/../etc", "may hold letters"),
        ("ssh://jetson/x?y", "has something behind the folder"),
        ("ssh://[fe80::1", "is no address of a device: Invalid IPv6 URL"),
    ],
)
def test_what_is_no_address_is_refused(address, told):
    with pytest.raises(DeviceError, match=r".*") as refused:
        parse_device(address)
    assert told in str(refused.value)


def test_password_is_refused_and_not_repeated():
    with pytest.raises(DeviceError, match="holds no password") as refused:
        parse_device("ssh://me:geheim@jetson")
    assert "geheim" not in str(refused.value)
