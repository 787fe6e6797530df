/**
 * TypeORM's decorators for tables, without the rest of TypeORM: state wings are loaded in the main thread as well, where nothing but queries runs, and the
 * whole package would cost it 27 MB (8 MB this way). The engine loads TypeORM itself; both share one registry of metadata.
 */
export { Column } from 'typeorm/decorator/columns/Column.js';
export { PrimaryColumn } from 'typeorm/decorator/columns/PrimaryColumn.js';
export { Entity } from 'typeorm/decorator/entity/Entity.js';
export { Index } from 'typeorm/decorator/Index.js';
