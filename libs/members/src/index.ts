export * from './context.js';
export * from './streams.js';
export * from './calls.js';
export * from './host-context.js';
export * from './accept-websocket.js';
export * from './generated/index.js';
