import type { StateWing } from '#replica/state';
import * as commands from './commands.js';
import { ImageAliasRow, ImageMemberRow, ImageProfileRow, ImageRow, imageMigrations } from './tables.js';

export * from './commands.js';
export * from './queries.js';

export const imagesState: StateWing = {
  subject: 'images',
  entities: [ImageRow, ImageMemberRow, ImageAliasRow, ImageProfileRow],
  migrations: imageMigrations,
  commands: [
    commands.createImage,
    commands.updateImage,
    commands.deleteImage,
    commands.replaceImage,
    commands.imageFiles,
    commands.setImageUsed,
    commands.createAlias,
    commands.updateAlias,
    commands.renameAlias,
    commands.deleteAlias,
  ],
};
