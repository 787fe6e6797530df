export * from './in-root.js';
export { closeFd, errorCode, SystemError } from './libc.js';
export * from './mountinfo.js';
export * from './mounts.js';
export * from './pipe.js';
export * from './programs.js';
export * from './run.js';
export * from './spawn.js';
