"""Word lists for the sentence generator, by language: noun phrases, verbs, tails, openers and links.

The sentences need sounds, not sense, so phrases are whole and grammar stays simple. The lists are our own.
"""

from __future__ import annotations

from typing import Final


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(";") if item.strip())


NAMES: Final = _list(
    "Anna; Bob; Pavel; Maria; Tom; Fatima; Yuki; Bruno; Olivia; Mehmet; Chloe; Viktor; Emma; Philip; "
    "Amara; Joe; Barbara; Wim; Vivian; Moby; Pippa; Felix; Umberto; Zoe; Theo; Ruth; Shirley; Hugo; "
    "Lola; Beth; George; Wu"
)

# Onsets, vowels and codas of invented words; * serves every language without its own.
SYLLABLES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {
    "*": (
        _list("p; b; m; f; v; t; d; n; s; z; l; r; k; g; b; p; m; pr; bl; fl; st; tr; kl; gr; sp; sm"),
        _list("a; e; i; o; u; a; o; i"),
        _list("n; m; s; l; r; t; p; k; f"),
    ),
    "en": (
        _list(
            "p; b; m; f; v; th; t; d; n; s; z; sh; ch; j; l; r; w; y; h; k; g; qu; pr; bl; fl; str; tw; "
            "sp; sm"
        ),
        _list("a; ee; i; o; oo; ay; ow; oy; ar; er; or; u; igh; oa; air; ea"),
        _list("n; m; s; l; t; p; k; f; v; sh; th; ng; mp; st; nd"),
    ),
    "fr": (
        _list("p; b; m; f; v; t; d; n; s; z; ch; j; l; r; gn; pr; bl; fl; tr; cl; gr"),
        _list("a; é; i; o; ou; u; eu; an; on; in; oi; ui; au"),
        _list("re; le; me; se; be; pe"),
    ),
    "de": (
        _list("p; b; m; f; w; t; d; n; s; sch; z; l; r; k; g; pf; ch; pr; bl; schw; st; tr; kl; j; h"),
        _list("a; e; i; o; u; ä; ö; ü; ei; au; eu; ie; ah; oh"),
        _list("n; m; s; l; r; t; p; ch; f; ng; st"),
    ),
    "tr": (
        _list("p; b; m; f; v; t; d; n; s; z; ş; ç; c; l; r; k; g; y; h"),
        _list("a; e; ı; i; o; ö; u; ü"),
        _list("n; m; s; l; r; t; p; k; ş; z"),
    ),
    "pl": (
        _list("p; b; m; f; w; t; d; n; s; z; sz; cz; ż; ś; ć; ź; dz; l; ł; r; rz; k; g; ch; j; prz; brz; mł"),
        _list("a; e; i; o; u; y; ą; ę; ó"),
        _list("n; m; s; l; r; t; p; k; sz; ł; j"),
    ),
}

WORDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "nouns": _list(
            "the old boat; a small blue bottle; my brother; the people; our fresh bread; the map; a "
            "yellow umbrella; this little village; the whole family; the morning paper; a warm cup of "
            "coffee; the wooden bridge; your funny voice; the moon; the phone; a purple flower; the "
            "farmer; that huge elephant; the music; the river; five quick foxes; the visitor; a thin "
            "feather; their favourite movie; the weather; the window; the new number; the bus; a job; "
            "the baker; some butter; the choir; the judge; a large measure; the oil; the answer; three "
            "other things; the garden; my shoes; a wave; the very best view; the future; a problem"
        ),
        "verbs": _list(
            "moves; follows; wants; may have found; would like to see; puts away; remembers; never buys; "
            "brings; always improves; is looking for; told us about; can hear; does not believe; will "
            "visit; keeps; paints; might break; opens; was thinking of; should choose; enjoys; goes "
            "past; carried; washed; knew; has seen"
        ),
        "tails": _list(
            "before breakfast; in the afternoon; with both hands; on the way home; for a few months; "
            "over there; without any trouble; because of the rain; at the very top; after the show; very "
            "quietly; by the sea; every Wednesday; from far away; above the clouds; once more; together; "
            "through the forest; just now"
        ),
        "openers": _list(
            "well; maybe; of course; however; today; I think; you know; finally; by the way; oh; yes; no"
        ),
        "and": _list("and; but; because; so; while; when; if; although; or"),
        "links": _list("of; with; behind; from; near; without; above; for; beside"),
    },
    "de": {
        "nouns": _list(
            "das alte Boot; eine kleine Flasche; mein Bruder; die Leute; frisches Brot; der Baum; ein "
            "gelber Schirm; das schöne Dorf; die ganze Familie; eine Tasse Kaffee; die Brücke; deine "
            "Stimme; der Mond; das Wetter; fünf Füchse; der Besuch; ein Pfeffertopf; die Musik; das "
            "Fenster; der Bäcker; die Möwe; ein Buch; der Fluss; die Übung; das Feuer; viele Vögel; der "
            "Zug; meine Schuhe; ein Apfel; die Zukunft; das Öl"
        ),
        "verbs": _list(
            "bewegt; findet; sucht; möchte haben; bringt; vergisst nie; malt; kauft; öffnet; hört; "
            "wäscht; sieht; braucht; pflegt; verkauft; bemerkt; wünscht sich; trägt; überholt; begleitet"
        ),
        "tails": _list(
            "vor dem Frühstück; am Nachmittag; mit beiden Händen; auf dem Weg; ohne Mühe; wegen des "
            "Regens; ganz oben; nach der Schule; sehr leise; am Meer; jeden Mittwoch; von weitem; über "
            "den Wolken; zusammen; noch einmal"
        ),
        "openers": _list(
            "also; vielleicht; natürlich; heute; eigentlich; übrigens; ja; nein; endlich; ich glaube"
        ),
        "and": _list("und; aber; weil; oder; denn; wenn; obwohl"),
        "links": _list("mit; ohne; für; hinter; neben; über; von"),
    },
    "fr": {
        "nouns": _list(
            "le vieux bateau; une petite bouteille; mon frère; les gens; du bon pain; un parapluie "
            "jaune; la lune; toute la famille; une tasse de café; le pont; ta voix; la musique; la "
            "fenêtre; cinq oiseaux; le boulanger; le jardin; un homme; la rue; le feu; une feuille; le "
            "fleuve; les yeux bleus; un œuf; la pluie; le vent; ma chambre; le beurre; un bijou; la "
            "montagne; le monde; un bouquet de fleurs; la vieille femme"
        ),
        "verbs": _list(
            "trouve; cherche; voudrait voir; apporte; oublie; peint; achète; ouvre; entend; regarde; "
            "vend; porte; a perdu; pourrait prendre; suit; aime beaucoup; remplit; choisit"
        ),
        "tails": _list(
            "avant midi; dans l'après-midi; à deux mains; sur le chemin; sans peine; à cause de la "
            "pluie; tout en haut; après l'école; très doucement; au bord de la mer; chaque mercredi; de "
            "loin; ensemble; encore une fois"
        ),
        "openers": _list("alors; peut-être; bien sûr; aujourd'hui; enfin; oui; non; d'abord; je pense que"),
        "and": _list("et; mais; parce que; ou; car; quand; si"),
        "links": _list("de; avec; sans; pour; derrière; près de"),
    },
    "es": {
        "nouns": _list(
            "el viejo barco; una botella pequeña; mi hermano; la gente; el pan fresco; un paraguas "
            "amarillo; la luna; toda la familia; una taza de café; el puente; tu voz; la música; la "
            "ventana; cinco pájaros; el panadero; el jardín; un hombre; la calle; el fuego; una hoja; el "
            "río; los ojos verdes; un huevo; la lluvia; el viento; el abuelo; la mañana; un problema; la "
            "vecina; el perro; muchas flores; el bosque"
        ),
        "verbs": _list(
            "mueve; busca; quiere ver; trae; olvida; pinta; compra; abre; escucha; mira; vende; lleva; "
            "encontró; podría tomar; sigue; prefiere; llena; elige; visita; empuja"
        ),
        "tails": _list(
            "antes del desayuno; por la tarde; con las dos manos; en el camino; sin problema; por la "
            "lluvia; allá arriba; después de la escuela; muy despacio; junto al mar; cada viernes; desde "
            "lejos; juntos; otra vez"
        ),
        "openers": _list("bueno; quizás; por supuesto; hoy; además; sí; no; por fin; creo que"),
        "and": _list("y; pero; porque; o; cuando; si; aunque"),
        "links": _list("de; con; sin; para; detrás de; cerca de"),
    },
    "it": {
        "nouns": _list(
            "la vecchia barca; una bottiglia piccola; mio fratello; la gente; il pane fresco; un "
            "ombrello giallo; la luna; tutta la famiglia; una tazza di caffè; il ponte; la tua voce; la "
            "musica; la finestra; cinque uccelli; il giardino; un uomo; la strada; il fuoco; una foglia; "
            "il fiume; gli occhi verdi; un uovo; la pioggia; il nonno; la mattina; un problema; il cane; "
            "molti fiori; il bosco; la zia; gli gnocchi"
        ),
        "verbs": _list(
            "muove; cerca; vuole vedere; porta; dimentica; dipinge; compra; apre; ascolta; guarda; "
            "vende; trova; potrebbe prendere; segue; preferisce; riempie; sceglie; visita; spinge"
        ),
        "tails": _list(
            "prima di colazione; nel pomeriggio; con due mani; per strada; senza problemi; per la "
            "pioggia; lassù; dopo la scuola; molto piano; vicino al mare; ogni venerdì; da lontano; "
            "insieme; ancora una volta"
        ),
        "openers": _list("allora; forse; certo; oggi; inoltre; sì; no; finalmente; penso che"),
        "and": _list("e; ma; perché; o; quando; se; mentre"),
        "links": _list("di; con; senza; per; dietro; vicino a"),
    },
    "pl": {
        "nouns": _list(
            "stara łódka; mała butelka; mój brat; ludzie; świeży chleb; żółty parasol; księżyc; cała "
            "rodzina; filiżanka kawy; most; twój głos; muzyka; okno; pięć ptaków; piekarz; ogród; "
            "człowiek; ulica; ogień; liść; rzeka; zielone oczy; jajko; deszcz; wiatr; dziadek; poranek; "
            "problem; pies; chrząszcz; wieża"
        ),
        "verbs": _list(
            "znajduje; szuka; chce zobaczyć; przynosi; zapomina; maluje; kupuje; otwiera; słyszy; "
            "ogląda; sprzedaje; niesie; zgubił; może wziąć; wybiera; odwiedza; pcha; lubi"
        ),
        "tails": _list(
            "przed śniadaniem; po południu; oburącz; po drodze; bez trudu; z powodu deszczu; na górze; "
            "po szkole; bardzo cicho; nad morzem; w każdą środę; z daleka; razem; jeszcze raz"
        ),
        "openers": _list("więc; może; oczywiście; dzisiaj; wreszcie; tak; nie; myślę że"),
        "and": _list("i; ale; ponieważ; lub; kiedy; jeśli"),
        "links": _list("z; bez; dla; obok; od; przy"),
    },
    "tr": {
        "nouns": _list(
            "eski tekne; küçük bir şişe; kardeşim; insanlar; taze ekmek; sarı şemsiye; ay ışığı; bütün "
            "aile; köprü; bir fincan kahve; senin sesin; müzik; pencere; beş kuş; fırıncı; bahçe; adam; "
            "sokak; ateş; yaprak; nehir; yeşil gözler; yumurta; yağmur; rüzgâr; dede; sabah; köpek; "
            "çiçekler; orman; vapur; pamuk"
        ),
        "verbs": _list(
            "bulur; arıyor; görmek ister; getirdi; unuttu; boyuyor; satın alır; açıyor; duydu; izler; "
            "satar; taşıyor; kaybetti; alabilir; seçti; ziyaret eder; itiyor; sever"
        ),
        "tails": _list(
            "kahvaltıdan önce; öğleden sonra; iki eliyle; yolda; kolayca; yağmur yüzünden; yukarıda; "
            "okuldan sonra; çok sessizce; deniz kenarında; her çarşamba; uzaktan; birlikte; bir daha"
        ),
        "openers": _list("yani; belki; elbette; bugün; sonunda; evet; hayır; bence"),
        "and": _list("ve; ama; çünkü; veya; eğer; ya da"),
        "links": _list("ile; için; gibi; kadar; ve"),
    },
    "pt": {
        "nouns": _list(
            "o barco velho; uma garrafa pequena; meu irmão; as pessoas; pão fresco; um chapéu amarelo; a "
            "lua; a família; uma xícara de café; a ponte; tua voz; a música; a janela; cinco pássaros; o "
            "padeiro; o jardim; um homem; a rua; o fogo; uma folha; o rio; os olhos verdes; um ovo; a "
            "chuva; o vento; o avô; a manhã; o cão"
        ),
        "verbs": _list(
            "move; procura; quer ver; traz; esquece; pinta; compra; abre; ouve; olha; vende; leva; "
            "encontrou; segue; prefere; enche; escolhe; visita"
        ),
        "tails": _list(
            "antes do almoço; de tarde; com as duas mãos; no caminho; sem problema; por causa da chuva; "
            "lá em cima; depois da escola; devagar; perto do mar; de longe; juntos; outra vez"
        ),
        "openers": _list("bom; talvez; claro; hoje; enfim; sim; não; acho que"),
        "and": _list("e; mas; porque; ou; quando; se"),
        "links": _list("de; com; sem; para; atrás de"),
    },
    "nl": {
        "nouns": _list(
            "de oude boot; een kleine fles; mijn broer; de mensen; vers brood; een gele paraplu; de "
            "maan; de familie; een kopje koffie; de brug; jouw stem; de muziek; het raam; vijf vogels; "
            "de bakker; de tuin; een man; de straat; het vuur; een blad; de rivier; groene ogen; een ei; "
            "de regen; de wind; opa; de morgen; het huis"
        ),
        "verbs": _list(
            "beweegt; zoekt; wil zien; brengt; vergeet; schildert; koopt; opent; hoort; bekijkt; "
            "verkoopt; draagt; vond; volgt; kiest; bezoekt; duwt"
        ),
        "tails": _list(
            "voor het ontbijt; in de middag; met beide handen; onderweg; zonder moeite; door de regen; "
            "bovenaan; na school; heel zacht; aan zee; elke woensdag; van ver; samen; nog een keer"
        ),
        "openers": _list("nou; misschien; natuurlijk; vandaag; eindelijk; ja; nee; ik denk"),
        "and": _list("en; maar; omdat; of; want; als"),
        "links": _list("met; zonder; voor; achter; naast; van"),
    },
    "sv": {
        "nouns": _list(
            "den gamla båten; en liten flaska; min bror; folket; färskt bröd; ett gult paraply; månen; "
            "hela familjen; en kopp kaffe; bron; din röst; musiken; fönstret; fem fåglar; bagaren; "
            "trädgården; en man; gatan; elden; ett löv; floden; gröna ögon; ett ägg; regnet; vinden; "
            "morfar; morgonen; huset; sjön"
        ),
        "verbs": _list(
            "flyttar; söker; vill se; bär; glömmer; målar; köper; öppnar; hör; tittar på; säljer; "
            "hittade; följer; väljer; besöker; behöver"
        ),
        "tails": _list(
            "före frukost; på eftermiddagen; med båda händerna; på vägen; utan besvär; på grund av "
            "regnet; högst upp; efter skolan; mycket tyst; vid havet; varje onsdag; på långt håll; "
            "tillsammans; en gång till"
        ),
        "openers": _list("alltså; kanske; naturligtvis; idag; äntligen; ja; nej; jag tror"),
        "and": _list("och; men; för; eller; när; om"),
        "links": _list("med; utan; för; bakom; bredvid; av"),
    },
    "fi": {
        "nouns": _list(
            "vanha vene; pieni pullo; veljeni; ihmiset; tuore leipä; keltainen sateenvarjo; kuu; koko "
            "perhe; silta; kuppi kahvia; äänesi; musiikki; ikkuna; viisi lintua; leipuri; puutarha; "
            "mies; katu; tuli; lehti; joki; vihreät silmät; muna; sade; tuuli; aamu; koira; metsä; yö; "
            "mökki; puhelin"
        ),
        "verbs": _list(
            "löytää; etsii; haluaa nähdä; tuo; unohtaa; maalaa; ostaa; avaa; kuulee; katsoo; myy; "
            "kantaa; työntää"
        ),
        "tails": _list(
            "ennen aamiaista; iltapäivällä; molemmin käsin; matkalla; helposti; sateen vuoksi; ylhäällä; "
            "koulun jälkeen; hyvin hiljaa; meren rannalla; kaukaa; yhdessä; vielä kerran"
        ),
        "openers": _list("no; ehkä; tietysti; tänään; vihdoin; joo; ei; luulen että"),
        "and": _list("ja; mutta; koska; tai; kun; jos"),
        "links": _list("ja; tai; sekä"),
    },
}
