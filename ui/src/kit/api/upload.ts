import { base, commonHeaders, idempotencyKey } from './client';
import { Problem, problemFrom, unreachable } from './problem';
import type { Upload } from './types';

/** An upload on its way: its result, and how to stop it (the result then rejects with code `upload_stopped`). */
export interface Sending {
  result: Promise<Upload>;
  cancel: () => void;
}

/** Sends a file as the raw body of one POST; `onProgress` gets the share sent, 0 to 1. (fetch cannot tell progress.) */
export function sendUpload(project: string, file: File, onProgress: (share: number) => void): Sending {
  const request = new XMLHttpRequest();
  const query = new URLSearchParams({ filename: file.name });
  request.open('POST', `${base}/projects/${encodeURIComponent(project)}/uploads?${query}`);
  request.responseType = 'json';
  request.setRequestHeader('Content-Type', contentType(file.name));
  request.setRequestHeader('Idempotency-Key', idempotencyKey());
  for (const [name, value] of Object.entries(commonHeaders())) request.setRequestHeader(name, value);
  request.upload.onprogress = (event) => onProgress(event.total > 0 ? event.loaded / event.total : 0);
  const result = new Promise<Upload>((resolve, reject) => {
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request.response as Upload);
      else reject(problemFrom(request.status, request.response));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new Problem({ status: 0, code: 'upload_stopped', detail: 'Upload stopped.' }));
  });
  request.send(file);
  return { result, cancel: () => request.abort() };
}

/** The media type of an archive, by its name. */
export function contentType(name: string): string {
  if (/\.zip$/i.test(name)) return 'application/zip';
  if (/\.(tgz|tar\.gz)$/i.test(name)) return 'application/gzip';
  return 'application/octet-stream';
}
