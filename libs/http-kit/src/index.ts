export * from './body.js';
export * from './caller.js';
export * from './reply.js';
export * from './request.js';
export * from './route.js';
export * from './tokens.js';
