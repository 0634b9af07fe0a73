"""The sandbox: carriers and gateways over real HTTP, for development, tests and the demo.

It speaks the vendors' wire formats (Tencent Cloud FaceID, Alibaba Cloud cloudauth, dytns and SMS,
CAMARA, a made-up reseller, JPush), checks their signatures with implementations of its own, keeps a
*register* (what carriers know of each phone) and a *truth* (what it was asked and what it
accepted), and misbehaves on request.

It listens on 127.0.0.1 only, has no other protection, and holds fictional people only.

``server.SandboxServer`` runs it in a thread, ``server.serve`` in a process,
``client.SandboxClient`` scripts it, ``people`` invents people. Nothing is imported here: only
``server`` and its rooms need aiohttp, which is an extra (``pip install 'verifier[sandbox]'``).
"""
