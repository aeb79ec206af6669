// Clips that play together: one clock, one of them heard.
"use strict";

const together = (function () {
  const CLOSE_S = 0.015; // nearer than this is together
  const FAR_S = 0.25; // from here on a jump is less bad than a wrong speed
  const EVERY_MS = 100;

  // clips: [{video, audio}], audio being null where the sound is in the video. told(): called when anything changed.
  function player(clips, told) {
    const all = clips.flatMap((clip) => (clip.audio ? [clip.video, clip.audio] : [clip.video]));
    let heard = 0; // the number of the clip that is heard; -1 for none
    let playing = false;
    let timer = null;

    function sound(clip) {
      return clip.audio || clip.video;
    }

    // The clock is what is heard, since the ear notices a change of speed and the eye does not.
    function clock() {
      const first = heard >= 0 ? sound(clips[heard]) : null;
      const running = all.filter((media) => !media.ended && !media.error);
      return first && running.includes(first) ? first : running[0] || null;
    }

    function duration() {
      return Math.max(0, ...all.map((media) => (isFinite(media.duration) ? media.duration : 0)));
    }

    function time() {
      const leader = clock();
      return leader ? leader.currentTime : duration();
    }

    function keepTogether() {
      const leader = clock();
      if (leader === null) {
        pause();
        return;
      }
      for (const media of all) {
        if (media === leader || media.ended || media.error) {
          media.playbackRate = 1;
          continue;
        }
        const late = leader.currentTime - media.currentTime;
        if (Math.abs(late) > FAR_S) {
          media.playbackRate = 1;
          if (leader.currentTime < media.duration) {
            media.currentTime = leader.currentTime;
          }
        } else {
          // Gone within a second at most, and never faster or slower than by a quarter.
          media.playbackRate = Math.abs(late) < CLOSE_S ? 1 : 1 + Math.max(-0.25, Math.min(0.25, late * 5));
        }
        if (media.paused && leader.currentTime < media.duration) {
          media.play().catch(() => {});
        }
      }
      told();
    }

    function ready(media) {
      return new Promise(function (done) {
        if (media.readyState >= 3 || media.error) {
          done();
          return;
        }
        for (const event of ["canplay", "error"]) {
          media.addEventListener(event, done, { once: true });
        }
        media.preload = "auto";
        if (media.networkState === 0) {
          media.load();
        }
      });
    }

    function hear(number) {
      heard = number;
      clips.forEach(function (clip, k) {
        clip.video.muted = clip.audio !== null || k !== heard;
        if (clip.audio) {
          clip.audio.muted = k !== heard;
        }
      });
      told();
    }

    function seek(to) {
      for (const media of all) {
        media.currentTime = isFinite(media.duration) ? Math.min(to, media.duration) : to;
      }
      told();
    }

    async function play() {
      if (playing) {
        return;
      }
      playing = true;
      told();
      if (clock() === null || time() >= duration() - 0.05) {
        seek(0);
      }
      // Phones load and play what a finger has asked for, so all are asked at once; those that could begin are held
      // until the last one can.
      const usable = all.filter((media) => !media.error);
      const late = usable.filter((media) => media.readyState < 3);
      let started = usable.map((media) => media.play());
      if (late.length) {
        Promise.allSettled(started);
        usable.filter((media) => !late.includes(media)).forEach((media) => media.pause());
        await Promise.all(late.map(ready));
        if (!playing) {
          return;
        }
        started = usable.map((media) => media.play());
      }
      const outcomes = await Promise.allSettled(started);
      if (playing && outcomes.length && outcomes.every((one) => one.status === "rejected")) {
        pause();
        return;
      }
      if (playing) {
        timer = timer || setInterval(keepTogether, EVERY_MS);
      }
    }

    function pause() {
      playing = false;
      clearInterval(timer);
      timer = null;
      for (const media of all) {
        media.pause();
        media.playbackRate = 1;
      }
      const leader = clock();
      if (leader) {
        all.forEach(function (media) {
          if (media !== leader && !media.ended) {
            media.currentTime = Math.min(leader.currentTime, media.duration || leader.currentTime);
          }
        });
      }
      told();
    }

    hear(0);
    return {
      play: play,
      pause: pause,
      seek: seek,
      hear: hear,
      heard: () => heard,
      isPlaying: () => playing,
      time: time,
      duration: duration,
    };
  }

  // A bar that plays, pauses and seeks clips together. clips: as for `player`, with a button where one can be chosen.
  function controls(clips) {
    const { make } = elements;
    const bar = make("div", { class: "bar", role: "group", "aria-label": "Play" });
    const play = make("button", { type: "button", class: "play" });
    const place = make("input", { type: "range", min: "0", max: "0", step: "0.01", "aria-label": "Time in seconds" });
    const clock = make("span", { class: "clock" });
    bar.append(play, place, clock);
    let own = null;

    function show() {
      if (own === null) {
        return;
      }
      play.textContent = own.isPlaying() ? "Pause" : clips.length > 1 ? "Play all" : "Play";
      clips.forEach(function (clip, k) {
        if (clip.button) {
          clip.button.setAttribute("aria-pressed", String(own.heard() === k));
        }
      });
      place.max = String(own.duration());
      place.value = String(own.time());
      place.setAttribute("aria-valuetext", own.time().toFixed(1) + " of " + own.duration().toFixed(1) + " seconds");
      clock.textContent = own.time().toFixed(1) + " / " + own.duration().toFixed(1) + " s";
    }

    own = player(clips, show);
    show();
    clips.forEach((clip) => clip.video.addEventListener("loadedmetadata", show));
    play.addEventListener("click", () => (own.isPlaying() ? own.pause() : own.play()));
    place.addEventListener("input", () => own.seek(parseFloat(place.value)));
    return { bar: bar, player: own };
  }

  return { controls: controls };
})();
