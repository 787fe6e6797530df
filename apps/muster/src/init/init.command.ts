import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { Api } from '../api.js';
import type { Subcommand } from '../main.js';
import { applyPreseed } from './apply.js';
import { autoPreseed } from './auto.js';
import { dumpPreseed } from './dump.js';
import { interactivePreseed } from './interactive.js';
import { parsePreseed, type Preseed } from './preseed.js';

const autoFlags = [
  'network-address',
  'network-port',
  'storage-backend',
  'storage-create-device',
  'storage-create-loop',
  'storage-pool',
  'trust-password',
] as const;

export const init: Subcommand = {
  summary: 'Set the server up: --auto, --minimal, --preseed (YAML on standard input), --dump, or by questions',
  async run(args, dir) {
    const { values } = parseArgs({
      args,
      options: {
        auto: { type: 'boolean' },
        minimal: { type: 'boolean' },
        preseed: { type: 'boolean' },
        dump: { type: 'boolean' },
        'network-address': { type: 'string' },
        'network-port': { type: 'string' },
        'storage-backend': { type: 'string' },
        'storage-create-device': { type: 'string' },
        'storage-create-loop': { type: 'string' },
        'storage-pool': { type: 'string' },
        'trust-password': { type: 'string' },
      },
    });
    const modes = (['auto', 'minimal', 'preseed', 'dump'] as const).filter((mode) => values[mode]);
    if (modes.length > 1) throw new Error(`Can't use --${modes[0]} and --${modes[1]} together`);
    if (modes[0] !== 'auto' && autoFlags.some((flag) => values[flag] !== undefined)) throw new Error('Configuration flags require --auto');
    const api = new Api(dir);
    if (values.dump) {
      console.log(await dumpPreseed(api));
      return 0;
    }
    await applyPreseed(api, await wanted());
    return 0;

    async function wanted(): Promise<Preseed> {
      if (values.preseed) return withCertificate(parsePreseed(await text(process.stdin)));
      if (!values.auto && !values.minimal) return interactivePreseed(api);
      return autoPreseed(api, {
        networkAddress: values['network-address'],
        networkPort: values['network-port'],
        storageBackend: values['storage-backend'],
        storageCreateDevice: values['storage-create-device'],
        storageCreateLoop: values['storage-create-loop'],
        storagePool: values['storage-pool'],
        trustPassword: values['trust-password'],
      });
    }
  },
};

function withCertificate(preseed: Preseed): Preseed {
  const path = preseed.cluster?.cluster_certificate_path;
  if (path) preseed.cluster!.cluster_certificate = readFileSync(path, 'utf8');
  return preseed;
}
