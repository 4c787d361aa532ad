/** The user's photos, as a strip of thumbnails. */

import { at, draw, make } from "./dom.ts";
import { text } from "./strings.ts";

export interface Photo {
  readonly file: File;
  readonly thumbnail: HTMLCanvasElement;
}

export class Strip {
  readonly photos: Photo[] = [];
  private shown: Photo | null = null;

  constructor(private readonly choose: (photo: Photo) => void) {}

  get current(): Photo | null {
    return this.shown;
  }

  set current(photo: Photo | null) {
    this.shown = photo;
    this.show();
  }

  add(file: File): Photo {
    const photo = { file, thumbnail: make("canvas") };
    photo.thumbnail.width = photo.thumbnail.height; // a square until the photo is loaded
    this.photos.push(photo);
    return photo;
  }

  /** Draws a photo's thumbnail. */
  fill(photo: Photo, picture: ImageBitmap): void {
    draw(photo.thumbnail, picture);
  }

  remove(photo: Photo): void {
    this.photos.splice(this.photos.indexOf(photo), 1);
    if (this.shown === photo) this.shown = null;
    this.show();
  }

  clear(): void {
    this.photos.length = 0;
    this.current = null;
  }

  /** A single photo needs no strip. */
  show(): void {
    const count = this.photos.length, focused = this.photos.findIndex(({ thumbnail }) => thumbnail.parentElement === document.activeElement);
    at("strip").hidden = count < 2;
    at("all").hidden = count < 2;
    at("save-all").textContent = text("saveAll", { count });
    at("strip").replaceChildren(...this.photos.map((photo, index) => {
      const button = make("button", photo.thumbnail);
      button.type = "button";
      button.setAttribute("aria-label", text("photoOf", { number: index + 1, count, name: photo.file.name }));
      if (photo === this.shown) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.choose(photo));
      return make("li", button);
    }));
    this.photos[focused]?.thumbnail.parentElement?.focus();
    this.shown?.thumbnail.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
