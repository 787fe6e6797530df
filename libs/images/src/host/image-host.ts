import type { Readable } from 'node:stream';

/** Image files of this member, for who makes instances. */
export interface ImageHost {
  /**
   * Unpacks an image into a directory: `rootfs/`, `metadata.yaml`, `templates/`. Ids are those that the container sees (0–65535); shifting is the caller's.
   * Nothing of the archive gets out of the directory. @throws Fault notFound; invalid for a broken archive; unavailable when the disk is full
   */
  fill(fingerprint: string, path: string, options?: { signal?: AbortSignal }): Promise<void>;
  /** Whether this member has the files. */
  has(fingerprint: string): Promise<boolean>;
  /**
   * Makes sure that a project has an image from another server, downloading it if need be, and gives its fingerprint: for instances that name a server as
   * the source of their image. `onProgress` gets LXD's texts for `download_progress`.
   */
  fetch(source: RemoteImage, options: FetchOptions): Promise<string>;
}

export interface RemoteImage {
  server: string;
  /** '' is lxd. */
  protocol: string;
  /** PEM that the server must show; '' for one that the system's authorities know. */
  certificate: string;
  secret: string;
  /** Alias or fingerprint. */
  name: string;
  imageType: string;
  project: string;
}

export interface FetchOptions {
  project: string;
  autoUpdate: boolean;
  public: boolean;
  /** Goes by itself when unused for a while. */
  cached: boolean;
  /** An older image of the alias, which is kept up to date, will do. */
  preferCached?: boolean;
  signal?: AbortSignal;
  onProgress?: (text: string) => void;
  context: import('#members').CallContext;
}

/** Instances publish themselves through this: the subject above gives it to the image agent. */
export interface InstancePublisher {
  /** A tar of the instance (`metadata.yaml`, `rootfs/`, `templates/`), uncompressed; `snapshot` for one of its snapshots. @throws Fault notFound, conflict */
  publish(request: {
    project: string;
    name: string;
    snapshot?: string;
    properties: Record<string, string>;
    expiresAt: string;
    signal: AbortSignal;
  }): Promise<{ tar: Readable; architecture: string; type: string; properties: Record<string, string> }>;
}
