export * from './pipe.js';
export * from './programs.js';
export * from './run.js';
export * from './spawn.js';
export { errorCode, SystemError } from './libc.js';
