export * from './api-extensions.js';
export * from './entities.js';
export * from './envelope.js';
export * from './etag.js';
export * from './urls.js';
