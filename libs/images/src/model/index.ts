export * from './architectures.js';
export * from './compression.js';
export * from './fingerprints.js';
export * from './metadata.js';
export * from './upload.js';
export * from './multipart-body.js';
