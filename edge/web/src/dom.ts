/** Small helpers around the document. */

/** The element with an id that is in the page's source. */
export function at<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

/** A new element with its content. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag, ...content: (string | Node)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.append(...content);
  return element;
}

// Another program's page may have the same origin, under another path.
const stored = (key: string): string => `seg-edge ${location.pathname} ${key}`;

/** A value that this browser remembers; empty if it doesn't allow pages to store any. */
export function recall(key: string): string {
  try {
    return localStorage.getItem(stored(key)) ?? "";
  } catch {
    return "";
  }
}

/** Remembers a value, or forgets it if it is empty. */
export function remember(key: string, value: string): void {
  try {
    if (value) localStorage.setItem(stored(key), value);
    else localStorage.removeItem(stored(key));
  } catch {
    // The user is asked again when the page is reloaded.
  }
}

/** The chosen value of a group of radio buttons. */
export function chosen(name: string): string {
  return document.querySelector<HTMLInputElement>(`input[name="${name}"]:checked`)?.value ?? "";
}

/** Downloads a file. */
export function save(content: Blob, name: string): void {
  const link = make("a"), url = URL.createObjectURL(content);
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Shows a bitmap and frees its memory. */
export function draw(canvas: HTMLCanvasElement, picture: ImageBitmap): void {
  const fits = canvas.width === picture.width && canvas.height === picture.height; // setting them would clear the canvas
  if (!fits) [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("bitmaprenderer")!.transferFromImageBitmap(picture);
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
}
