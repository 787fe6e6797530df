import { ImageAliasesController } from './image-aliases.controller.js';
import { ImagesController } from './images.controller.js';

export const imagesControllers = [ImageAliasesController, ImagesController];
