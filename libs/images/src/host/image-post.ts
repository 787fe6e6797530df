import type { RemoteImage } from './image-host.js';
import type { ImageExtras } from './local-images.js';

type Fields = Record<string, unknown>;

/** The body of POST /1.0/images, checked by the gateway and carried as plain data. */
export class ImagePost {
  readonly public: boolean;
  readonly autoUpdate: boolean;
  readonly filename: string;
  readonly expiresAt: string;
  readonly compression: string;
  readonly properties: Record<string, string>;
  readonly aliases: { name: string; description: string }[];
  readonly profiles?: string[];
  readonly source: { url: string; type: string; name: string; remote: RemoteImage };

  constructor(fields: Fields) {
    this.public = fields['public'] === true;
    this.autoUpdate = fields['auto_update'] === true;
    this.filename = text(fields, 'filename');
    this.expiresAt = text(fields, 'expires_at');
    this.compression = text(fields, 'compression_algorithm');
    this.properties = (fields['properties'] ?? {}) as Record<string, string>;
    this.aliases = ((fields['aliases'] ?? []) as Fields[]).map((alias) => ({ name: text(alias, 'name'), description: text(alias, 'description') }));
    const profiles = fields['profiles'] as string[] | undefined;
    this.profiles = profiles && profiles.length > 0 ? profiles : undefined;
    const source = (fields['source'] ?? {}) as Fields;
    this.source = {
      url: text(source, 'url'),
      type: text(source, 'type'),
      name: text(source, 'name'),
      remote: {
        server: text(source, 'server'),
        protocol: text(source, 'protocol'),
        certificate: text(source, 'certificate'),
        secret: text(source, 'secret'),
        name: text(source, 'fingerprint') || text(source, 'alias'),
        imageType: text(source, 'image_type'),
        project: text(source, 'project'),
      },
    };
  }

  extras(project: string): ImageExtras {
    const { filename, properties, aliases, profiles, expiresAt } = this;
    return { project, public: this.public, autoUpdate: this.autoUpdate, filename, properties, aliases, profiles, expiresAt };
  }
}

const text = (fields: Fields, name: string): string => (typeof fields[name] === 'string' ? fields[name] : '');
