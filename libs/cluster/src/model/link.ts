/** Path of the stream on which a member tells another that it lives, and its own events. */
export const linkPath = '/internal/cluster/link';
export const beatMs = 600;
/** One that is silent for so long is believed gone. */
export const silenceMs = 2_000;

/** An event of the member that speaks, as its hub keeps it. */
export interface LinkEvent {
  readonly type: string;
  readonly project?: string;
  readonly boot: string;
  readonly number: number;
  readonly json: string;
}

/** A frame of that stream. */
export type LinkFrame = { readonly beat: number } | { readonly event: LinkEvent };
