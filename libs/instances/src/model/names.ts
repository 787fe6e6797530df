import { fault } from '#kit';

/** @throws Fault invalid */
export function checkInstanceName(name: string): void {
  if (name.includes('/')) throw fault.invalid('The character "/" is reserved for snapshots');
  const why = hostnameProblem(name);
  if (why) throw fault.invalid(`Invalid instance name: ${why}`);
}

/** Of a snapshot, without its instance's. @throws Fault invalid */
export function checkSnapshotName(name: string): void {
  if (name === '') throw fault.invalid('Invalid instance snapshot name: Cannot be empty');
  if (name.includes('/') || name.includes(' ')) throw fault.invalid('Invalid instance snapshot name: Cannot contain space or / characters');
  if (name === '.' || name === '..' || /[\0-\x1f\x7f]/.test(name) || Buffer.byteLength(name) > 200) {
    throw fault.invalid(`Invalid instance snapshot name: "${name.slice(0, 64)}"`);
  }
}

function hostnameProblem(name: string): string | undefined {
  if (name.length < 1 || name.length > 63) return 'Name must be 1-63 characters long';
  if (name.startsWith('-')) return 'Name must not start with "-" character';
  if (name.endsWith('-')) return 'Name must not end with "-" character';
  if (/^[0-9]/.test(name)) return 'Name must not start with a number';
  if (!/^[-a-zA-Z0-9]+$/.test(name)) return 'Name can only contain alphanumeric and hyphen characters';
  return undefined;
}

const adjectives =
  'able amber brave brisk calm clever cosmic daring eager fair gentle golden happy humble jolly keen kind lively lucky mellow merry modest nimble noble patient polite proud quick quiet rapid royal sharp shy silent smart smooth solid steady sunny swift tidy vivid warm wise witty'.split(
    ' ',
  );
const animals =
  'badger bear beaver bison bobcat camel civet condor coyote crane deer dingo dolphin donkey eagle falcon ferret finch fox gecko gibbon goose gull hare hawk heron horse ibis jackal koala lark lemur lion llama lynx marten mink mole moose newt ocelot otter owl panda puffin quail rabbit raven robin salmon seal shrew skunk sloth stork swan tapir tiger toad trout vole walrus wolf wombat yak zebra'.split(
    ' ',
  );

/** 'brave-otter': a name for who gave none. @param random at least 0, below 1 */
export function generatedName(random: () => number): string {
  const pick = (words: readonly string[]): string => words[Math.floor(random() * words.length)]!;
  return `${pick(adjectives)}-${pick(animals)}`;
}
