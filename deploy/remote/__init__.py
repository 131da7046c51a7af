"""The same measuring on another machine, over the system's own ssh and scp.

``address`` is what the user writes; ``connection`` runs and copies; ``wheel`` packs what runs there; ``setting_up`` makes the
environment; ``guard`` and ``device_side`` are the processes over there, ``measuring`` the conversation with them, and
``several`` many of them at once.
"""
