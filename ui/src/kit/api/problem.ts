/** What the server answered instead of a success (RFC 9457), or what stands for it when nothing came back. */
export interface ProblemBody {
  status: number;
  code: string;
  detail: string;
  parameters?: Record<string, string>;
  errors?: { location: string; message: string }[] | null;
  request_id?: string;
}

/** An API call that failed. `code` is what gets translated, `detail` the server's own English sentence. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly parameters: Record<string, string>;
  readonly errors: { location: string; message: string }[];
  readonly requestId: string | undefined;

  constructor(body: ProblemBody) {
    super(body.detail);
    this.name = 'Problem';
    this.status = body.status;
    this.code = body.code;
    this.parameters = body.parameters ?? {};
    this.errors = body.errors ?? [];
    this.requestId = body.request_id;
  }
}

/** Reads a problem from whatever an answer held; a proxy's HTML page or an empty body becomes `http_STATUS`. */
export function problemFrom(status: number, body: unknown): Problem {
  const given = (typeof body === 'object' && body !== null ? body : {}) as Partial<ProblemBody> & { title?: string };
  return new Problem({
    ...given,
    status,
    code: given.code ?? `http_${status}`,
    detail: given.detail ?? given.title ?? '',
  });
}

/** The problem of a call that got no answer at all. */
export const unreachable = () => new Problem({ status: 0, code: 'unreachable', detail: 'The server does not answer.' });

/** Whatever was thrown, as a problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError) return unreachable();
  return new Problem({ status: 0, code: 'unexpected', detail: error instanceof Error ? error.message : String(error) });
}
