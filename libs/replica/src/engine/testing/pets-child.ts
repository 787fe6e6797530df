/**
 * A process for tests that kill it: opens the replica in argv[2] and adds pets called `TAG-N` (TAG is argv[3]), 16 at once. Each line that
 * it appends to the file argv[4], `NAME ID`, was written after the submit was acknowledged. It prints `open` when it begins.
 */
import { openSync, writeSync } from 'node:fs';
import { openReplica } from '../../index.js';
import { internalIdentity } from '../../state/command.js';
import { built } from './dist.js';
import { addPet, petsWing } from './fixture.js';

const [, , stateDir = '', tag = '', acknowledged = ''] = process.argv;
const file = openSync(acknowledged, 'a');
const replica = await openReplica({ stateDir, wings: [petsWing], worker: built('./pets-worker.js') });
writeSync(1, 'open\n');
let n = 0;
await Promise.all(
  [...Array(16)].map(async () => {
    for (;;) {
      const name = `${tag}-${(n += 1)}`;
      const { result } = await replica.submit(addPet, { name }, { identity: internalIdentity });
      writeSync(file, `${name} ${result.id}\n`);
    }
  }),
);
