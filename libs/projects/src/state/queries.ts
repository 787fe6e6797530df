import { defaultProject, type ProjectPut } from '#api-contract';
import { isTrue } from '#config-keys';
import { fault } from '#kit';
import type { Reader } from '#replica/state';
import type { FeatureName } from '../model/index.js';

export interface ProjectRecord extends ProjectPut {
  id: number;
  name: string;
}

interface Row {
  id: number;
  name: string;
  description: string;
  config: string;
}

const fromRow = (row: Row): ProjectRecord => ({ ...row, config: JSON.parse(row.config) as Record<string, string> });

export function projects(reader: Reader): ProjectRecord[] {
  return reader.all<Row>('SELECT id, name, description, config FROM projects ORDER BY name').map(fromRow);
}

export function findProject(reader: Reader, name: string): ProjectRecord | undefined {
  const row = reader.get<Row>('SELECT id, name, description, config FROM projects WHERE name = ?', name);
  return row && fromRow(row);
}

/** @throws Fault notFound */
export function project(reader: Reader, name: string): ProjectRecord {
  const found = findProject(reader, name);
  if (!found) throw fault.notFound('Project not found');
  return found;
}

/**
 * The project in which things of this kind live: the project itself, or `default` where it lacks the feature.
 * @throws Fault notFound
 */
export function effectiveProject(reader: Reader, name: string, feature: FeatureName): string {
  if (name === defaultProject) return name;
  return isTrue(project(reader, name).config[feature]) ? name : defaultProject;
}
