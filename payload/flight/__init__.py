"""The third walk: in flight. A loop that never ends of its own accord, and what hangs in it.

    ground --> links --> packets --> uplink: tag, counter --> service (one function a command)
    ground <-- links <-- downlink: telemetry <-- events, housekeeping, verification, answers

How to hang something more into it:

* a command: a line in `core.telecommands.COMMANDS`, and under its name a function in the
  ``commands`` of a `calls.Service` (see there). What takes long returns False and completes its
  `calls.Call` later, from ``poll``.
* something that lives on: a `calls.Service` whose ``poll`` is called at every turn of the loop,
  at least every `loop.TURN_S`, and must return within a few milliseconds.
* packets of another APID, up (CFDP): a function in the ``packets`` of the service, for what
  they carry.
* packets down: `downlink.Downlink.send` for whole packets, ``report`` for telemetry.
* something that wakes the loop: a file descriptor in the ``wakes_on`` of the service.

Services are listed once, in `payload.flying`.
"""
