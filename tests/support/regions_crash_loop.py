"""Label a run in forked processes that are killed at the 1st, 2nd, 3rd ... fault point until one completes.

Prints JSON: how many processes died.

Usage: python -m tests.support.regions_crash_loop STORE RUN PARSER MODEL
"""

from __future__ import annotations

import json
import os
import sys

from tests.support.forkserver import preload_store
from vestigo.store import faults
from vestigo.store.open import Store
from vestigo_workers.regions import run as regions
from vestigo_workers.regions.plan import RegionsRequest


def main(reference: str, run: str, parser: str, model: str) -> None:
    request = RegionsRequest(run=run, parser=parser, model=model, executor="inline", shard_size=4)
    preload_store()
    deaths = 0
    while True:
        child = os.fork()
        if child == 0:
            faults.install(faults.die_at(deaths + 1))
            with Store.open(reference) as store:
                regions.label_run(store, request, lambda name: lambda done, total: None)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        deaths += 1
        with Store.open(reference) as store:
            problems = store.check().problems
            assert not problems, (deaths, problems)
    sys.stdout.write(json.dumps({"deaths": deaths}))


if __name__ == "__main__":
    main(*sys.argv[1:])
