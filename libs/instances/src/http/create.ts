import { Body } from '#http-kit';
import { fault } from '#kit';
import { findAlias, findImage, image, imageWithProperties, profilesOf } from '#images/state';
import { effectiveProject } from '#projects/state';
import type { Reader } from '#replica/state';
import { checkInstanceName, generatedName, limitsOfInstanceType } from '../model/index.js';
import { typeOfTree, type Tree } from './trees.js';

/** A checked InstancesPost: everything that can be settled by reading the database is. */
export interface Wanted {
  source: string;
  post: Record<string, unknown>;
}

const sources = ['image', 'migration', 'copy', 'none'];

/** @throws Fault invalid, notFound */
export function wantedInstance(reader: Reader, project: string, tree: Tree, body: Body, random: () => number): Wanted {
  const source = body.object('source');
  const kind = source.string('type');
  if (!sources.includes(kind)) throw fault.invalid(`Unknown source type ${kind}`);
  const config = body.map('config');
  const type = body.string('type') || typeOfTree[tree] || 'container';
  if (type !== 'container' && type !== 'virtual-machine') throw fault.invalid(`Invalid instance type "${type}"`);
  const instanceType = body.string('instance_type');
  const limits = instanceType === '' ? {} : limitsOfInstanceType(instanceType);
  const name = body.string('name') || generatedName(random);
  checkInstanceName(name);
  const post: Record<string, unknown> = {
    name,
    type,
    architecture: body.string('architecture'),
    description: body.string('description'),
    ephemeral: body.boolean('ephemeral'),
    stateful: body.boolean('stateful'),
    config: { ...limits, ...Object.fromEntries(Object.entries(config).filter(([key, value]) => value !== '' || !(key in limits))) },
    devices: body.maps('devices'),
    source: sourceOf(source),
  };
  if (body.has('profiles')) post.profiles = body.strings('profiles');
  if (kind === 'image') settleImage(reader, project, source, type, post);
  if (kind !== 'copy' && kind !== 'migration') post.profiles ??= ['default'];
  return { source: kind, post };
}

function sourceOf(source: Body): Record<string, unknown> {
  const texts = [
    'type',
    'certificate',
    'alias',
    'fingerprint',
    'server',
    'secret',
    'protocol',
    'base-image',
    'mode',
    'operation',
    'source',
    'project',
  ];
  const flags = ['live', 'instance_only', 'container_only', 'refresh', 'allow_inconsistent'];
  return {
    ...Object.fromEntries(texts.map((name) => [name, source.string(name)])),
    ...Object.fromEntries(flags.map((name) => [name, source.boolean(name)])),
    properties: source.map('properties'),
    secrets: source.map('secrets'),
  };
}

/** Names the image of this server by its fingerprint. One on another server stays as it was given: the member fetches it. */
function settleImage(reader: Reader, project: string, source: Body, type: string, post: Record<string, unknown>): void {
  const images = effectiveProject(reader, project, 'features.images');
  const settled = post.source as Record<string, unknown>;
  if (source.string('server') !== '') return;
  const properties = source.map('properties');
  let fingerprint = source.string('fingerprint');
  if (fingerprint === '' && source.string('alias') !== '') {
    const found = findAlias(reader, images, source.string('alias'));
    if (!found) throw fault.notFound('Image alias not found');
    fingerprint = found.target;
  } else if (fingerprint === '') {
    if (Object.keys(properties).length === 0) throw fault.invalid('Must specify one of alias, fingerprint or properties for init from image');
    const found = imageWithProperties(reader, images, properties);
    if (!found) throw fault.notFound('No matching image could be found');
    fingerprint = found.fingerprint;
  }
  const record = findImage(reader, images, fingerprint) ?? image(reader, images, fingerprint);
  if (record.type !== type) throw fault.invalid(`Requested image's type "${record.type}" doesn't match instance type "${type}"`);
  settled.fingerprint = record.fingerprint;
  settled.alias = '';
  post.architecture = post.architecture || record.architecture;
  post.profiles ??= profilesOf(reader, record.id);
}
