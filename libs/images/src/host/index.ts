export { ImageAgent, type ImageAgentOptions } from './image-agent.js';
export type * from './image-host.js';
export { archiveFormat, formatOf, type ArchiveFormat } from './archive.js';
export { readMultipart, type PartHead } from './multipart.js';
export { jsonOf, remoteRequest, type RemoteOptions } from './remote-request.js';
export { Progress } from './progress.js';
export type { ImageCopies } from './local-images.js';
